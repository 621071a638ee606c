"""Variants are chosen in the validation world (``--select``); only the chosen ones meet the test world (``--final``).

Choosing by results of the test world would make the winner's result too good. So ``--select`` measures all variants on
the validation users and writes the choice to ``selection.json``; ``--final`` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib import __version__
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.compare.plan import Comparison
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.report.kit.names import method_order
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import write_text

FILE = "selection.json"
FINAL = "final"
BY = "highest mean return at the end over the seeds, greedy policy, validation world; of equal ones the first"
_AGAIN = "the arguments that it was made with, or --select again"


def choose(plan: Comparison, measurements: Measurements) -> dict[str, Any]:
    """For every scenario and method the variant with the highest mean greedy return at the end; ties: the first.

    A variant with a run that diverged, or that is not finished, is never chosen if there is another.

    Args:
        plan: a comparison with variants, measured in the validation world.
        measurements: what :func:`.measurements.collect` returns for it.

    Returns:
        Plain data: ``version``, ``chosen_by``, ``world``, ``seeds``, ``choices`` (scenario -> method -> ``variant``,
        ``values`` of the settings, ``returns`` of all variants) and ``fingerprints`` (name of a run -> fingerprint).
    """
    results = measurements.results
    ends = results[(results["policy"] == "greedy") & (results["epoch"] == "end")]
    means = ends.groupby(["scenario", "method"])["return"].agg(lambda values: values.to_numpy(float).mean())
    choices: dict[str, dict[str, Any]] = {}
    for method in method_order(ends["method"]):
        for name, (base, variant) in plan.variants.items():
            value = float(means.get((name, method), np.nan))
            known = value if np.isfinite(value) else None
            entry = choices.setdefault(base, {}).setdefault(method, {"variant": "", "values": {}, "returns": {}})
            best = entry["returns"].get(entry["variant"])
            if not entry["variant"] or (known is not None and (best is None or known > best)):
                entry |= {"variant": variant.label, "values": variant.values}
            entry["returns"][variant.label] = known
    seeds = sorted({seed for run in plan.runs.values() for seed in run.settings.seeds})
    return {
        "version": __version__,
        "chosen_by": BY,
        "world": plan.world,
        "seeds": seeds,
        "choices": choices,
        "fingerprints": _fingerprints(plan),
    }


def _fingerprints(plan: Comparison) -> dict[str, str]:
    """Name of a run -> fingerprint of all that its results depend on, except the world that they are measured in."""
    found = {}
    for name, run in plan.runs.items():
        settings = replace(run.settings, evaluate=replace(run.settings.evaluate, world="test"))
        found[name] = RunFolder(settings, run.root).fingerprints["adapt"]
    return found


def write_selection(plan: Comparison, selection: Mapping[str, Any]) -> Path:
    """Write the choice to ``selection.json`` in the folder of the results."""
    path = plan.folder / FILE
    with storage_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(selection, indent=1) + "\n"
    write_text(path, text)
    return path


def read_selection(plan: Comparison) -> dict[str, Any]:
    """The choice that was made with the settings of this plan.

    Raises:
        InputError: there is none, it cannot be read, or it was made with other settings, data, methods or seeds.
    """
    path = plan.folder / FILE
    if not path.is_file():
        raise InputError(str(path), "no such file: nothing was chosen yet", "the same command with --select first")
    try:
        selection = json.loads(path.read_text(encoding="utf-8"))
        chosen_for, choices = dict(selection["fingerprints"]), dict(selection["choices"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(str(path), f"cannot be read ({type(error).__name__})", "--select again") from error
    own = _fingerprints(plan)
    if set(own) != set(chosen_for):
        problem = f"chose among {', '.join(sorted(chosen_for))}; now there are {', '.join(sorted(own))}"
        raise InputError(str(path), problem, _AGAIN)
    changed = [name for name, value in own.items() if chosen_for[name] != value]
    if changed:
        raise InputError(str(path), f"was made with other settings or data of {', '.join(changed)}", _AGAIN)
    methods = {m for run in plan.runs.values() for m in run.settings.adapt.methods}
    if any(set(choices.get(base, ())) != methods for base, _ in plan.variants.values()):
        raise InputError(str(path), "does not choose a variant for every method", "--select again")
    return dict(selection)


def chosen_plan(plan: Comparison, selection: Mapping[str, Any]) -> Comparison:
    """The plan of ``--final``: each method with its chosen variant only, in the folder ``final``.

    Args:
        plan: the comparison with all variants, in the test world.
        selection: see :func:`choose`.
    """
    runs = {}
    for name, run in plan.runs.items():
        base, variant = plan.variants[run.settings.scenario]
        chosen = selection["choices"][base]
        methods = tuple(m for m in run.settings.adapt.methods if chosen[m]["variant"] == variant.label)
        if methods:
            settings = replace(run.settings, scenario=base, adapt=replace(run.settings.adapt, methods=methods))
            runs[name] = RunFolder(settings, plan.out / FINAL / run.root.name)
    return replace(
        plan,
        out=plan.out / FINAL,
        runs=runs,
        variants={},
        others=tuple(plan.runs.values()),
        selection=selection,
    )
