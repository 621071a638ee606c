"""Results of a sweep: a row per trial and rung, and the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ialp_rllib.compare.variants import Variant
from ialp_rllib.errors import IalpError
from ialp_rllib.results.statistics import estimates
from ialp_rllib.sweep.plan import Sweep
from ialp_rllib.sweep.trial import identity_of, read_record


class Results(NamedTuple):
    """What a sweep measured.

    Attributes:
        trials: a row per trial, the best first: ``trial`` (its values as text), one column per varied setting,
            ``env_steps`` that it reached, ``mean``, ``low``, ``high`` (95% t interval over the seeds) there, ``seeds``,
            and ``stopped``, whether it was stopped early.
        rungs: a row per trial, rung and seed: ``trial``, ``env_steps``, ``seed``, ``value``.
        best: values of the winner: the highest mean of the trials that ran to the end.
        spent: environment steps of all trials.
        total: environment steps if none had been stopped.
        final: winner and unchanged settings with other seeds in the test world, see :mod:`.final`; None: not measured.
    """

    trials: pd.DataFrame
    rungs: pd.DataFrame
    best: dict[str, Any]
    spent: int
    total: int
    final: pd.DataFrame | None = None


def collect(sweep: Sweep, ran: Sequence[Variant]) -> Results:
    """What the trials have left.

    Args:
        sweep: the plan.
        ran: the trials of its search; equal ones are one row.

    Raises:
        IalpError: a trial has no result, or none ran to the end: a trial that did not run is no success.
    """
    if len(ran) < sweep.trials:
        raise IalpError(f"{sweep.trials - len(ran)} of {sweep.trials} trials did not run: the same command goes on")
    planned = {variant.label: number for number, variant in enumerate(sweep.variants)}
    ordered = sorted(ran, key=lambda one: (planned.get(one.label, len(planned)), one.label))  # not as a run did them
    records = _records(sweep, {variant.label: variant for variant in ordered})
    rungs = pd.DataFrame(
        [
            {"trial": label, "env_steps": int(rung), "seed": seed, "value": float(value)}
            for label, record in records.items()
            for rung, values in record["rungs"].items()
            for seed, value in enumerate(values)
        ]
    )
    rows = []
    for label, record in records.items():
        reached = max(int(rung) for rung in record["rungs"])
        values = np.asarray(record["rungs"][str(reached)], float)
        mean, low, high = (float(value) for value in estimates([values])[0])
        rows.append(
            {
                "trial": label,
                **record["values"],
                "env_steps": reached,
                "mean": mean,
                "low": low,
                "high": high,
                "seeds": len(values),
                "stopped": reached < sweep.total,
            }
        )
    trials = pd.DataFrame(rows).sort_values(["stopped", "mean"], ascending=[True, False], ignore_index=True)
    if trials.empty or trials["stopped"].iloc[0]:
        raise IalpError("no trial ran to the end: the same command goes on")
    best = dict(records[trials["trial"].iloc[0]]["values"])
    spent = int((trials["env_steps"] * trials["seeds"]).sum())
    return Results(trials, rungs, best, spent, sweep.trials * sweep.study.seeds * sweep.total)


def _records(sweep: Sweep, ran: Mapping[str, Variant]) -> dict[str, dict[str, Any]]:
    """Label of a trial -> its record. Those of an older sweep in the same folder are none of this one."""
    records, missing = {}, []
    for label, variant in ran.items():
        record = read_record(sweep.folder(variant.values))
        if record.get("identity") == identity_of(sweep, variant.values) and record["rungs"]:
            records[label] = record
        else:
            missing.append(label)
    if missing:
        raise IalpError(f"{len(missing)} of {len(ran)} trials have no result: {'; '.join(missing[:5])}")
    return records
