"""Stage ``ranking``: tables and an HTML page of `ialp lea`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.progress import Progress
from ialp_rllib.report.lea.page import groups_of, lea_row, write_page
from ialp_rllib.report.lea.tables import MASKED, PLAIN, Scores, difference_table
from ialp_rllib.results.augmented import CASES
from ialp_rllib.settings import Settings, to_dict
from ialp_rllib.stages.lea.model import split_of
from ialp_rllib.stages.lea.recommend import RANKS, part_stage, parts_of
from ialp_rllib.stages.lea.rows import rows_of
from ialp_rllib.stages.run import RunFolder, needed_stages
from ialp_rllib.storage import write_atomic

_PARTS = ("tokens", "environment", "augment", "recommend")


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Collect the ranks of all rows and seeds and write ``cases.parquet``, ``differences.parquet`` and ``index.html``.

    Returns:
        Whether LEA is shown to be better than the neighbour methods, and the measures of the rows.
    """
    settings = run.settings
    paths = [part_stage(run, row, seed).folder / RANKS for row, seed in parts_of(settings)]
    cases = pa.concat_tables([pq.read_table(path, schema=CASES) for path in paths])
    split, rows = split_of(run), rows_of(settings.lea)
    masks = split.masks_seen()
    scores = Scores(cases.to_pandas(), MASKED if masks else PLAIN, settings.lea.offline.ranked_by)
    groups = groups_of(scores, rows)
    differences = pa.Table.from_pandas(difference_table(groups), preserve_index=False)
    write_atomic(folder / "cases.parquet", partial(pq.write_table, cases))
    write_atomic(folder / "differences.parquet", partial(pq.write_table, differences))
    needed = needed_stages(settings, "ranking")[:-1]
    stages = [{"name": name, **(run.stage(name).manifest() or {})} for name in needed]
    page = partial(
        write_page,
        scenario=settings.scenario,
        scores=scores,
        rows=rows,
        groups=groups,
        popularity=split.train.popularity(split.n_items),
        masks_seen=masks,
        facts={name: run.facts(name) for name in _PARTS if name in needed},
        stages=stages,
        notes=notes(settings, run, masks),
        settings=to_dict(settings),
    )
    write_atomic(folder / "index.html", page)
    lea = lea_row(rows)
    return {
        "better_than_knn": bool(groups["knn"]) and all(one.better for one in groups["knn"]),
        "lea": lea.name if lea else None,
        "ndcg@10": {row: scores.mean(row) for row in scores.rows},
    }


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
    if settings.lea.offline.le_to == "both":
        found.append("`lea.offline.le_to=both`: ranking needs the LLM at serving time.")
    return found


def _converged(part: dict[str, Any]) -> bool:
    return bool(part.get("stopped_by_validation", True))
