"""Stage ``tune``: the judge learns the answer's format by LoRA, and is audited on users it has never seen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.judge import AnyJudge, local_judge
from ialp_rllib.judge.oracle.oracle import OracleJudge
from ialp_rllib.judge.tuning.tune import ADAPTER, MERGED, tune_judge
from ialp_rllib.progress import Progress
from ialp_rllib.settings import JudgeSettings
from ialp_rllib.stages.judges import give_back, judge_of, served_model
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
            write_json(before, _audit_here(run, settings, progress))
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


def audit_model(run: RunFolder, settings: JudgeSettings, model: str, progress: Progress) -> dict[str, Any]:
    """Start a judge, audit it, and give it back.

    Args:
        run: its runtime and prepared data are used.
        settings: of the judge.
        model: `tiny`, `oracle`, a folder, or a Hugging Face id.
        progress: is told how far it is.

    Returns:
        The audit, the fingerprints of model and prompt, and the engine; of an oracle, how much it knows, too
        (:meth:`.OracleJudge.examine`).
    """
    judge = judge_of(run, settings, model)
    try:
        audit = _audited(judge, settings, run, progress, "Audit")
        if isinstance(judge, OracleJudge):
            audit |= judge.examine(run.catalogue, settings.audit_prompts)
        return {**audit, "model": model}
    finally:
        give_back(run, judge)


def _audited(
    judge: AnyJudge, settings: JudgeSettings, run: RunFolder, progress: Progress, what: str, *, brief: bool = False
) -> dict[str, Any]:
    audit = audit_judge(
        judge,
        settings,
        run.catalogue,
        brief=brief,
        progress=lambda done, total: progress.update(what, done, total),
    )
    return {**audit, **judge.info()}


def _audit_here(run: RunFolder, settings: JudgeSettings, progress: Progress) -> dict[str, Any]:
    """A brief audit of the judge as it came, in this process, where it is about to be tuned: no engine is started."""
    plain = replace(settings, engine="transformers")
    judge = local_judge(plain, run.catalogue, settings.model, run.settings.catalogue.attributes)
    try:
        return _audited(judge, plain, run, progress, "Audit before tuning", brief=True) | {"model": settings.model}
    finally:
        judge.close()
