"""An audit of a run's judge at any time, on a page of its own: no stage, for nothing depends on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ialp_rllib.errors import storage_errors
from ialp_rllib.judge.audit.audit import FRAMES
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.page import write_page
from ialp_rllib.settings import ORACLE, to_dict
from ialp_rllib.stages.gather import versions
from ialp_rllib.stages.judges import served_model
from ialp_rllib.stages.pipeline import run_stage
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.tune import AUDIT, audit_model
from ialp_rllib.storage import write_json


def audit_run(
    run: RunFolder, progress: Progress, *, model: str = "", prompts: int = 0, page: Path | None = None
) -> tuple[dict[str, Any], Path]:
    """Audit the judge of a run; prepare the run's data first, where that was not done.

    An oracle needs the fitted users, too. Leaves ``audit/audit.json`` and ``audit/index.html`` in the run's folder.

    Args:
        run: its settings and folder.
        progress: is told how far it is.
        model: who is audited. Empty: the tuned judge of the run where stage ``tune`` stands, with its audit from before
            the tuning beside it; else the judge as it came.
        prompts: instead of ``judge.audit_prompts``; 0: those.
        page: where else to write the page to.

    Returns:
        The audit (:func:`ialp_rllib.judge.audit.audit.audit_judge`), and where its page lies.

    Raises:
        InputError: the data or the model cannot be used, or a folder not be written to.
    """
    needed = ["prepare"]
    if (model or run.settings.judge.model) == ORACLE:
        needed.append("users")
    else:
        resolve_model(model or run.settings.judge.model)  # a wrong name is told at once
    for stage in needed:
        if not run.stage(stage).up_to_date():
            run.write_settings()
            run_stage(run, stage, progress)
    settings, facts = run.settings.judge, {}
    asked = replace(settings, audit_prompts=prompts or settings.audit_prompts)
    name = model or settings.model
    if not model and settings.is_tuned and run.stage("tune").up_to_date():
        facts = {key: value for key, value in run.facts("tune").items() if key in ("before", "tuning")}
        name = served_model(run)
    with progress.stage("audit"):
        audit = {**audit_model(run, asked, name, progress), "model": _shown(name, run), **facts}
    folder = run.root / "audit"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / AUDIT, audit)
    place = page or folder / "index.html"
    write_page(
        place,
        scenario=run.settings.scenario,
        audit=audit,
        wordings=_wordings(run),
        settings={"judge": to_dict(asked)},
        versions=versions(),
    )
    return audit, place


def _shown(model: str, run: RunFolder) -> str:
    """A model's name without the run's folder."""
    path = Path(model)
    return str(path.relative_to(run.root)) if path.is_relative_to(run.root) else model


def _wordings(run: RunFolder) -> list[str]:
    """The instruction in each wording."""
    judge, attributes = run.settings.judge, run.settings.catalogue.attributes
    return [PromptBuilder(run.catalogue, replace(judge, frame=i), attributes).frame for i in range(FRAMES)]
