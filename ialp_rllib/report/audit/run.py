"""Audit of a run's judge on request. It is not a stage, since nothing depends on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ialp_rllib.errors import storage_errors
from ialp_rllib.judge.audit.audit import FRAMES
from ialp_rllib.judge.engines.preflight import check_model
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.lines import LineBuilder, QuestionBuilder
from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.page import write_page
from ialp_rllib.settings import LETTER, LIKELIHOOD, ORACLE, YES_NO, parse_judge_model, to_dict
from ialp_rllib.stages.gather import versions
from ialp_rllib.stages.judges import served_model
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.tune import AUDIT, audit_model
from ialp_rllib.storage import write_json


def audit_run(
    run: RunFolder, progress: Progress, *, model: str = "", prompts: int = 0, page: Path | None = None
) -> tuple[dict[str, Any], Path]:
    """Audit the judge of a run, and write ``audit/audit.json`` and ``audit/index.html`` in the run's folder.

    The stages that it reads (``prepare``; for an oracle also ``users``) are run first unless they are up to date.

    Args:
        run: settings and folder of the run.
        progress: receives the progress.
        model: the model to audit. Empty: the tuned judge if stage ``tune`` is up to date, shown next to the audit
            before tuning; otherwise the judge's model without tuning.
        prompts: number of held-out prompts; 0: ``judge.audit_prompts``.
        page: file for the page, instead of ``audit/index.html``.

    Returns:
        The audit (:func:`ialp_rllib.judge.audit.audit.audit_judge`), and the path of its page.

    Raises:
        InputError: the data or the model cannot be used, or a folder cannot be written to.
    """
    needed = ["prepare"]
    if parse_judge_model(model or run.settings.judge.model).kind == ORACLE:
        needed.append("users")
    check_model(run.settings.judge, model)  # fails early on a wrong one
    left = [stage for stage in needed if not run.stage(stage).up_to_date()]
    if left:
        run_all(run, progress, left)
    settings, tuning = run.settings.judge, {}
    judge = replace(settings, model=model or settings.model, audit_prompts=prompts or settings.audit_prompts)
    name = model or settings.model
    if not model and settings.is_tuned and run.stage("tune").up_to_date():
        tuning = {key: value for key, value in run.facts("tune").items() if key in ("before", "tuning")}
        name = served_model(run)
    with progress.stage("audit"):
        audit = {**audit_model(run, judge, name, progress), "model": _display_name(name, run), **tuning}
    folder = run.root / "audit"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / AUDIT, audit)
    path = page or folder / "index.html"
    write_page(
        path,
        scenario=run.settings.scenario,
        audit=audit,
        wordings=_wordings(run, audit.get("answer", LETTER)),
        settings={"judge": to_dict(judge)},
        versions=versions(),
    )
    return audit, path


def _display_name(model: str, run: RunFolder) -> str:
    """A model's name; a path inside the run's folder is made relative."""
    path = Path(model)
    return str(path.relative_to(run.root)) if path.is_relative_to(run.root) else model


def _wordings(run: RunFolder, answer: str) -> list[str]:
    """The instruction in each wording of an answer form, below its heading."""
    judge, attributes = run.settings.judge, run.settings.catalogue.attributes
    each = [replace(judge, frame=i) for i in range(FRAMES)]
    if answer == LIKELIHOOD:
        return [f"\n{LineBuilder(run.visible, judge, attributes).head}" for judge in each]
    builder = QuestionBuilder if answer == YES_NO else PromptBuilder
    return [builder(run.visible, judge, attributes).frame for judge in each]
