"""Stage ``tune``: the judge learns the answer's format by LoRA, and is audited on users it has never seen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ialp_rllib import runtime
from ialp_rllib.judge.actor import start_judge
from ialp_rllib.judge.audit import audit_judge
from ialp_rllib.judge.models import resolve_model
from ialp_rllib.judge.tuning import ADAPTER, MERGED, tune_judge
from ialp_rllib.storage import write_json

if TYPE_CHECKING:
    from ialp_rllib.stages.pipeline import Run
    from ialp_rllib.stages.progress import Progress

AUDIT = "audit.json"


def served_model(run: Run) -> str:
    """The model that answers in this run: the tuned and merged one, or the judge as it came."""
    if run.settings.judge.tune.enabled:
        return str(run.root / "tune" / MERGED)
    return resolve_model(run.settings.judge.model)


def run(run: Run, folder: Path, progress: Progress) -> dict[str, Any]:
    """Tune (where ``judge.tune.enabled``), then audit what will be served."""
    settings = run.settings.judge
    tuning = None
    if settings.tune.enabled:
        for name in (ADAPTER, MERGED):  # of a run that was killed in the middle of writing
            shutil.rmtree(folder / name, ignore_errors=True)
        tuning = tune_judge(
            settings,
            run.catalogue,
            settings.model,
            folder,
            attributes=run.settings.catalogue.attributes,
            progress=lambda done, total: progress.update("LoRA tuning", done, total),
        )
    runtime.start(run.settings.runtime)
    judge = start_judge(settings, run.root / "prepare", served_model(run))
    try:
        audit = {**audit_judge(judge, settings, run.catalogue), **judge.info()}
    finally:
        judge.close()
    audit["model"] = settings.model
    if tuning:
        audit["tuning"] = tuning
    write_json(folder / AUDIT, audit)
    return audit
