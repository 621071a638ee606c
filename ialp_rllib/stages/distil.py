"""Stage ``distil``: the judge plays sessions; its preferences become a Parquet table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ialp_rllib import runtime
from ialp_rllib.judge.actor import start_judge
from ialp_rllib.judge.distil import distil
from ialp_rllib.judge.preferences import read_table, table_hash
from ialp_rllib.stages.tune import served_model

if TYPE_CHECKING:
    from ialp_rllib.stages.pipeline import Run
    from ialp_rllib.stages.progress import Progress


def run(run: Run, folder: Path, progress: Progress) -> dict[str, Any]:
    """Ask what has not been answered yet. Live pre-training needs no table: then nothing is asked."""
    settings = run.settings
    if settings.pretrain.mode == "live":
        return {"prompts": 0}
    runtime.start(settings.runtime)
    judge = start_judge(settings.judge, run.root / "prepare", served_model(run))
    try:
        asked = distil(
            judge,
            settings.judge,
            settings.distil,
            run.catalogue,
            folder,
            progress=lambda done, total: progress.update("Prompts", done, total),
        )
    finally:
        judge.close()
    table = read_table(folder)
    return {
        "prompts": table.num_rows,
        "asked_now": asked,
        "mean_reward": float(table["reward"].to_numpy().mean()),
        "hash": table_hash(folder),
    }
