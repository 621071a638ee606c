"""Tables and page of rankings: of one run, or of the folds of one study."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.report.lea.page import groups_of, missing_of, write_page
from ialp_rllib.report.lea.sentences import best_lea, shown
from ialp_rllib.report.lea.tables import MASKED, PLAIN, Scores, difference_table
from ialp_rllib.results.augmented import CASES
from ialp_rllib.results.schemas import read_run_file
from ialp_rllib.settings import Settings, to_dict
from ialp_rllib.stages.lea.model import split_of
from ialp_rllib.stages.lea.recommend import RANKS, part_stage, parts_of
from ialp_rllib.stages.lea.rows import LLM_ENVIRONMENT, rows_of
from ialp_rllib.stages.run import RunFolder, needed_stages
from ialp_rllib.storage import write_atomic
from ialp_rllib.storage.parquet import read_parquet

_PARTS = ("tokens", "environment", "augment", "recommend")


def write_ranking(runs: Sequence[RunFolder], folder: Path) -> dict[str, Any]:
    """Write ``cases.parquet``, ``differences.parquet`` and ``index.html`` of one run, or of the folds of a study.

    Of several folds, the cases of all are ranked as one set of users; facts of environments are means over the folds,
    costs are sums.

    Args:
        runs: whose stages up to ``recommend`` are finished; they differ in the users that they test alone.
        folder: for the files.

    Returns:
        Whether LEA is shown to be better than the baselines, its best row, and the measures of the rows.
    """
    settings = runs[0].settings
    cases = pa.concat_tables([_cases(run) for run in runs])
    splits, rows = [split_of(run) for run in runs], rows_of(settings.lea)
    masks = all(split.masks_seen() for split in splits)
    scores = Scores(cases.to_pandas(), MASKED if masks else PLAIN, settings.lea.offline.ranked_by)
    groups = groups_of(scores, rows)
    differences = pa.Table.from_pandas(difference_table(groups), preserve_index=False)
    write_atomic(folder / "cases.parquet", partial(pq.write_table, cases))
    write_atomic(folder / "differences.parquet", partial(pq.write_table, differences))
    needed = needed_stages(settings, "ranking")[:-1]
    page = partial(
        write_page,
        scenario=settings.scenario,
        scores=scores,
        rows=rows,
        groups=groups,
        popularity=np.sum([split.train.popularity(split.n_items) for split in splits], 0),
        masks_seen=masks,
        facts={name: mean_facts([run.facts(name) for run in runs]) for name in _PARTS if name in needed},
        stages=[_summed([run.stage(name).manifest() or {} for run in runs], name) for name in needed],
        notes=list(dict.fromkeys(note for run in runs for note in notes(settings, run, masks))) + _of_folds(runs),
        settings=to_dict(settings),
    )
    write_atomic(folder / "index.html", page)
    lea = best_lea(groups["best"])
    return {
        "better_than_baselines": shown(groups["best"], missing_of(scores)),
        "lea": lea.row if lea else None,
        "ndcg@10": {row: scores.mean(row) for row in scores.rows},
    }


def _cases(run: RunFolder) -> pa.Table:
    paths = [part_stage(run, row, seed).folder / RANKS for row, seed in parts_of(run.settings)]
    return pa.concat_tables([read_run_file(path, CASES) for path in paths])


def mean_facts(facts: Sequence[Any]) -> Any:
    """Means over folds of facts of one form: numbers, lists of fractions, mappings of these; of others the first."""
    first = facts[0]
    if isinstance(first, Mapping):
        return {key: mean_facts([one[key] for one in facts if key in one]) for key in first}
    if all(isinstance(one, int) and not isinstance(one, bool) for one in facts):
        return round(sum(facts) / len(facts))
    if all(isinstance(one, float) for one in facts):
        return sum(facts) / len(facts)
    if all(
        isinstance(one, list) and len(one) == len(first) and all(isinstance(x, float) for x in one) for one in facts
    ):
        return [mean_facts(values) for values in zip(*facts, strict=True)]
    return first


def _summed(manifests: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Seconds and CPU-minutes of all folds, and the largest memory of any."""
    return {
        "name": name,
        "seconds": sum(one["seconds"] for one in manifests),
        "facts": _costs([m["facts"] for m in manifests]),
    }


def _costs(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``cpu_minutes`` and ``peak_bytes`` of a stage, or of each of its parts, over the folds."""
    found: dict[str, Any] = {}
    for key, first in facts[0].items():
        values = [one[key] for one in facts if key in one]
        if key in ("cpu_minutes", "peak_bytes"):
            found[key] = sum(values) if key == "cpu_minutes" else max(values)
        elif isinstance(first, Mapping):
            found[key] = _costs(values)
    return found


def notes(settings: Settings, run: RunFolder, masks_seen: bool) -> list[str]:
    """What a reader must know to read the figures rightly."""
    found = []
    tokens, recommend = run.facts("tokens"), run.facts("recommend")
    if settings.lea.model == "tiny":
        known = "" if settings.scenario == "sample" else " It knows only the sample's words: here it says little."
        found.append(f"The LLM is the tiny one that ships with the package.{known}")
    if len(settings.seeds) < 3:
        found.append(f"{len(settings.seeds)} seed: training noise is not measured; intervals are over users alone.")
    open_ = [name for name, part in recommend.items() if isinstance(part, dict) and not _converged(part)]
    if open_:
        found.append(f"Not converged (`lea.offline.epochs` reached): {', '.join(open_)}. Compare these with care.")
    if not masks_seen:
        found.append("Users come back to items: rows are compared without a mask of seen items.")
    if tokens.get("same_text"):
        found.append(f"{tokens['same_text']:,} items have the text of another one: their tokens are alike.")
    return found + states_read(settings)


def states_read(settings: Settings) -> list[str]:
    """Which rankings need states about the users that are ranked for, by the LLM or a control: at serving time, too."""
    offline, rows = settings.lea.offline, [row for row in rows_of(settings.lea) if row.states]
    both = [row.name for row in rows if row.settings(offline).le_to == "both"]
    found = []
    if both:
        found.append(f"`le_to=both`: ranking needs the LLM at serving time, by either head: {', '.join(both)}.")
    alone = [row.name for row in rows if row.name not in both]
    if alone:
        counts = " These are the ranks that rows are compared by." if offline.ranked_by == "q" else ""
        names = ", ".join(alone)
        found.append(f"Ranks by their Q head need the environment's states of the test users: {names}.{counts}")
    return found


def _converged(part: dict[str, Any]) -> bool:
    return bool(part.get("stopped_by_validation", True))


def _of_folds(runs: Sequence[RunFolder]) -> list[str]:
    """How far the environments of two folds, which learnt from other users, give the same rewards."""
    if len(runs) < 2:
        return []
    found = [f"{len(runs)} folds: figures of the environments are means over them, costs are sums."]
    rewards = [_rewards(run) for run in runs if LLM_ENVIRONMENT in run.facts("environment")]
    pairs = [pd.concat(pair, axis=1, join="inner").rank() for pair in itertools.combinations(rewards, 2)]
    if pairs:
        values = [float(both.corr().iloc[0, 1]) for both in pairs]
        found.append(
            f"Rewards of two folds' environments, for users that neither has learnt from, correlate by "
            f"{np.mean(values):.2f} (Spearman; lowest {min(values):.2f})."
        )
    return found


def _rewards(run: RunFolder) -> pd.Series:
    """Reward of each logged item of the train users that the environment was not learnt from, by user and position."""
    paths = sorted((run.root / "augment" / LLM_ENVIRONMENT).glob("part-*.parquet"))
    table = pd.concat([read_parquet(path, columns=["set", "user", "reward"]).to_pandas() for path in paths])
    table = table[table["set"] == "train"]
    table = table.assign(place=table.groupby("user").cumcount())
    table = table[table["reward"].notna() & ~table["user"].isin(run.facts("environment")["users"])]
    return table.set_index(["user", "place"])["reward"]
