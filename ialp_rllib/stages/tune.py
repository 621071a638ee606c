"""Stage ``tune``: the judge learns the answer's format by LoRA, and is audited on users it has never seen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.oracle.oracle import OracleJudge
from ialp_rllib.judge.tuning.tune import ADAPTER, MERGED, tune_judge
from ialp_rllib.progress import Progress
from ialp_rllib.settings import JudgeSettings
from ialp_rllib.stages.judges import judge_of, served_model
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import read_json, write_json

AUDIT, BEFORE = "audit.json", "audit_before.json"


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Audit the judge as it came, briefly, tune it (both where ``judge.tune.enabled``), and audit what will be served.

    An oracle is audited only.

    Returns:
        The audit (:func:`.audit_judge`) and who was asked; where the judge was tuned, also how that went (``tuning``)
        and its brief audit ``before``.
    """
    settings = run.settings.judge
    tuned: dict[str, Any] = {}
    if settings.is_tuned:
        # First, so that a run that is killed while it tunes goes on there and need not ask again.
        before = folder / BEFORE
        if not before.is_file():
            write_json(before, audit_model(run, settings, settings.model, progress, brief=True))
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
        tuned = {"tuning": tuning, "before": read_json(before)}
    audit = {**audit_model(run, settings, served_model(run), progress), "model": settings.model, **tuned}
    write_json(folder / AUDIT, audit)
    return audit


def audit_model(
    run: RunFolder, settings: JudgeSettings, model: str, progress: Progress, *, brief: bool = False
) -> dict[str, Any]:
    """Start a judge, audit it, and end it.

    Args:
        run: its runtime and prepared data are used.
        settings: of the judge.
        model: `tiny`, `oracle`, a folder, or a Hugging Face id.
        progress: is told how far it is.
        brief: see :func:`.audit_judge`.

    Returns:
        The audit, the fingerprints of model and prompt, and the engine; of an oracle, how much it knows, too
        (:meth:`.OracleJudge.examine`).
    """
    judge = judge_of(run, settings, model)
    what = "Audit before tuning" if brief else "Audit"
    try:
        found = audit_judge(
            judge,
            settings,
            run.catalogue,
            brief=brief,
            progress=lambda done, total: progress.update(what, done, total),
        )
        if isinstance(judge, OracleJudge):
            found |= judge.examine(run.catalogue, settings.audit_prompts)
        return {**found, **judge.info(), "model": model}
    finally:
        judge.close()
