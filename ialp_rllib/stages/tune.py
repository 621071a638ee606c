"""Stage ``tune``: LoRA tuning of the judge on the answer format, and an audit on validation users."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ialp_rllib.commands import SETTINGS, command
from ialp_rllib.errors import AtChanceError
from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.choosing import ChosenForm, choose_form
from ialp_rllib.judge.judge import local_judge
from ialp_rllib.judge.oracle.oracle import OracleJudge
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.judge.tuning.tune import ADAPTER, MERGED, tune_judge
from ialp_rllib.progress import Progress
from ialp_rllib.settings import AUTO, CONTROLS, LETTER, JudgeSettings
from ialp_rllib.stages.judges import calibrated_judge, give_back, served_model
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import read_json, write_json

log = logging.getLogger(__name__)

AUDIT, BEFORE = "audit.json", "audit_before.json"


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Tune the judge, with a brief audit before (both if ``judge.tune.enabled``); audit the model that will be served.

    A judge without an LLM is only audited. What an earlier call finished before it ended at
    :func:`_require_above_chance` is not done again.

    Returns:
        The audit (:func:`.audit_judge`) and the model; of a tuned judge also the tuning record (``tuning``) and the
        brief audit ``before``.

    Raises:
        AtChanceError: the judge is not better than chance, and ``judge.allow_chance`` is false.
    """
    settings = run.settings.judge
    if not (folder / AUDIT).is_file():
        write_json(folder / AUDIT, _tune_and_audit(run, folder, progress))
    audit: dict[str, Any] = read_json(folder / AUDIT)
    _require_above_chance(audit, settings, run.root)
    return audit


def _tune_and_audit(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    settings = run.settings.judge
    tuned: dict[str, Any] = {}
    if settings.is_tuned:
        # First, so that a run killed during tuning resumes there without repeating the audit.
        before = folder / BEFORE
        if not before.is_file():
            write_json(before, _audit_here(run, settings, progress))
        for name in (ADAPTER, MERGED):  # left incomplete by a killed run
            shutil.rmtree(folder / name, ignore_errors=True)
        tuning = tune_judge(
            settings,
            run.visible,
            settings.model,
            folder,
            attributes=run.settings.catalogue.attributes,
            progress=lambda done, total: progress.update("LoRA tuning", done, total),
        )
        tuned = {"tuning": tuning, "before": read_json(before)}
    return {**audit_model(run, settings, served_model(run), progress, folder), "model": settings.model, **tuned}


def _require_above_chance(audit: dict[str, Any], settings: JudgeSettings, root: Path) -> None:
    """An oracle answers as well as was asked for, and is never refused."""
    if settings.is_oracle or audit["above_chance"]:
        return
    items, k = audit["negatives"]["uniform"]["items"], settings.candidates
    if not items["prompts"]:
        problem = "its accuracy is unknown: no prompt of the audit contains the true item (judge.tune.none_share)"
    else:
        low, high = items["interval"]
        problem = (
            f"is not better than chance: {items['accuracy']:.3f} of {items['prompts']:,} held-out prompts that contain "
            f"the true item answered correctly, 95% interval {low:.3f} to {high:.3f}, chance {1 / k:.3f}"
        )
    if settings.allow_chance:
        log.warning("judge %s: %s; going on, because judge.allow_chance is set", settings.model, problem)
        return
    tiny = command("judge init --tiny", root / SETTINGS, out="my-judge")
    other = "another form of answer (judge.answer=auto); " if settings.is_llm and settings.answer != AUTO else ""
    expected = (
        f"a judge that knows these items: judge.model set to an LLM, or `{tiny}` and judge.model=my-judge; {other}more "
        "judge.audit_prompts or judge.tune.interactions; or judge.allow_chance=true, to go on with this one"
    )
    raise AtChanceError(f"judge {settings.model}", problem, expected)


def audit_model(
    run: RunFolder, settings: JudgeSettings, model: str, progress: Progress, keep: Path | None = None
) -> dict[str, Any]:
    """Start a judge, choose and calibrate its answer form if it needs that, audit it, and give it back.

    Args:
        run: its runtime and prepared data are used.
        settings: of the judge.
        model: as `judge.model`.
        progress: receives the number of answered prompts.
        keep: folder in which a form chosen now is kept for the stages that follow.

    Returns:
        The audit, the fingerprints of model and prompt, and the engine; of an oracle, how much it knows, too
        (:meth:`.OracleJudge.evaluate`); of an LLM that is not asked for letters the chosen form (``answer_form``, see
        :meth:`.ChosenForm.to_dict`).
    """
    judge, form = calibrated_judge(run, settings, model, keep)
    try:
        audit = _audited(judge, replace(settings, model=model), run, progress, "Audit")
        if isinstance(judge, OracleJudge) and judge.truth.uses_test_truth:
            audit |= judge.evaluate(run.catalogue, settings.audit_prompts)
        elif isinstance(judge, OracleJudge):
            audit |= {"control" if judge.truth.name in CONTROLS else "ratings": judge.truth.facts}
        return {**audit, "model": model, **_form_facts(form)}
    finally:
        give_back(run, judge)


def _audited(
    judge: PreferenceJudge,
    settings: JudgeSettings,
    run: RunFolder,
    progress: Progress,
    what: str,
    *,
    brief: bool = False,
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
    """A brief audit of the untuned judge in this process, where it is about to be tuned: no engine is started."""
    plain = replace(settings, engine="transformers")
    judge, form = local_judge(plain, run.visible, settings.model, run.settings.catalogue.attributes), None
    try:
        if settings.answer != LETTER:
            form, judge = choose_form(judge, plain, run.catalogue)
        audit = _audited(judge, plain, run, progress, "Audit before tuning", brief=True)
        return audit | {"model": settings.model} | _form_facts(form)
    finally:
        judge.close()


def _form_facts(form: ChosenForm | None) -> dict[str, Any]:
    return {} if form is None else {"answer_form": form.to_dict()}
