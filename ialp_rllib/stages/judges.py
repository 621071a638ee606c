"""Making a run's judge: an LLM behind Ray actors, an oracle, a model of the ratings, or a control."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import ray

from ialp_rllib import runtime
from ialp_rllib.commands import resume_command
from ialp_rllib.errors import InputError
from ialp_rllib.judge.choosing import ChosenForm, choose_form
from ialp_rllib.judge.controls.control import make_control
from ialp_rllib.judge.engines.models import model_fingerprint, resolve_model
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.oracle.oracle import make_oracle, make_ratings_judge
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.judge.start import start_judge
from ialp_rllib.judge.tuning.tune import MERGED
from ialp_rllib.settings import CONTROLS, LETTER, LLM, ORACLE, RATINGS, JudgeSettings, parse_judge_model
from ialp_rllib.stages.answers import read_form, write_form
from ialp_rllib.stages.run import RunFolder


def served_model(run: RunFolder) -> str:
    """The model that serves as judge in this run: the tuned and merged one, or the untuned one."""
    judge = run.settings.judge
    if not judge.is_llm:
        return judge.model
    return str(run.root / "tune" / MERGED) if judge.is_tuned else resolve_model(judge.model)


def judge_of(run: RunFolder, settings: JudgeSettings | None = None, model: str = "") -> PreferenceJudge:
    """A judge for this run: an LLM whose engines are Ray actors, or one that is none.

    The caller gives it back or closes it.

    Args:
        run: its runtime settings, data and, for an oracle, fitted users are used.
        settings: the judge's; None: the run's.
        model: as `judge.model`; empty: :func:`served_model`.

    Raises:
        InputError: as :func:`.start_judge`, :func:`.make_oracle`, :func:`.make_ratings_judge` or :func:`.make_control`;
            or ``judge.answer`` needs a calibration, which stage ``tune`` has not made.
    """
    settings, model = settings or run.settings.judge, model or served_model(run)
    kind = parse_judge_model(model).kind
    if kind == ORACLE:
        return make_oracle(settings, run.settings.users, run.catalogue, run.root / "users")
    if kind == RATINGS:
        return make_ratings_judge(settings, run.visible)
    if kind in CONTROLS:
        attributes = run.settings.catalogue.attributes
        return make_control(settings, model, run.catalogue, attributes)
    form = read_form(run, settings, model)
    if form is None and settings.answer != LETTER:
        command = resume_command("tune", run.root)
        raise InputError("judge.answer", f"the form {settings.answer} is not calibrated yet", f"`{command}` first")
    return _llm(run, settings, model, form)


def calibrated_judge(
    run: RunFolder, settings: JudgeSettings, model: str, keep: Path | None = None
) -> tuple[PreferenceJudge, ChosenForm | None]:
    """A judge as of :func:`judge_of`, and the answer form that was chosen for it, now if not earlier.

    Args:
        run, settings, model: as of :func:`judge_of`.
        keep: folder of stage ``tune``, where a form chosen now is written.

    Raises:
        InputError: as :func:`judge_of` or :func:`.choose_form`.
    """
    if settings.answer == LETTER or parse_judge_model(model).kind != LLM:
        return judge_of(run, settings, model), None
    form = read_form(run, settings, model)
    judge = _llm(run, settings, model, form)
    if form is None:
        try:
            form, judge = choose_form(judge, settings, run.catalogue)
        except BaseException:
            judge.close()
            raise
        if keep is not None:
            write_form(run, settings, model, form, keep)
    return judge, form


def _llm(run: RunFolder, settings: JudgeSettings, model: str, form: ChosenForm | None) -> LLMJudge:
    """The judge that was kept, if it is the same, or a new one; in a chosen form if there is one."""
    if form is not None:
        settings = replace(settings, answer=form.answer)
    calibration = form.calibration if form is not None else None
    runtime.start(run.settings.runtime)
    kept, run.kept.judge = run.kept.judge, None
    if kept is not None:
        same = kept.settings == settings and kept.answer_form.calibration == calibration
        if same and kept.info()["model_fingerprint"] == model_fingerprint(resolve_model(model)):
            return kept.renewed()
        kept.close()
    return start_judge(settings, run.visible, model, run.settings.catalogue.attributes, calibration)


def give_back(run: RunFolder, judge: PreferenceJudge) -> None:
    """Close a judge, or keep it running if a later stage of the same call needs it.

    Starting an engine takes longer than distilling a small table.
    """
    if run.kept.wanted and isinstance(judge, LLMJudge):
        run.kept.judge = judge
    else:
        judge.close()


def close_kept(run: RunFolder) -> None:
    """Close the judge that was kept, if any: its engines hold CPUs or GPUs that training needs."""
    kept, run.kept.judge = run.kept.judge, None
    if kept is not None:
        kept.close()


def judge_for_jobs(run: RunFolder) -> PreferenceJudge:
    """This run's judge (:func:`.judge_of`), to be given to training jobs.

    Raises:
        InputError: as :func:`.judge_of`; or the engines reserve every CPU of this machine, so that the jobs would wait
            for ever.
    """
    settings = run.settings
    judge = settings.judge
    if not judge.is_llm:  # each job makes its own
        return judge_of(run)
    runtime.start(settings.runtime)
    joined = settings.runtime.address or os.environ.get("RAY_ADDRESS")
    if not runtime.local() and not joined:  # a cluster may grow
        cpus = int(ray.cluster_resources()["CPU"])
        taken = judge.replicas * min(judge.cpus, cpus)
        if taken >= cpus:
            problem = f"{judge.replicas} replicas take all {cpus} CPUs of this machine, and training needs one"
            raise InputError("judge.replicas", problem, "fewer replicas, or fewer judge.cpus (0 is allowed)")
    return judge_of(run)
