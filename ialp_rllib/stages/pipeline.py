"""Driving a run through its stages.

A stage is run again only when its settings, or those of a stage that it reads, have changed (:mod:`.run`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from importlib import import_module

from ialp_rllib.commands import resume_command
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.judge.engines.preflight import check_model
from ialp_rllib.progress import Progress
from ialp_rllib.stages.judges import close_kept
from ialp_rllib.stages.lea.specs import LEA_STAGES
from ialp_rllib.stages.run import ALL_STAGES, RunFolder, needed_stages
from ialp_rllib.stages.suited import require_suited
from ialp_rllib.storage import locked

log = logging.getLogger(__name__)


def run_stage(run: RunFolder, name: str, progress: Progress) -> bool:
    """Run one stage unless it is up to date. Returns whether it was run.

    Raises:
        InputError: a stage whose output it reads is not up to date.
    """
    stage = run.stage(name)
    if stage.up_to_date():
        progress.up_to_date(name)
        return False
    for needed in ALL_STAGES[name].needs(run.settings):
        if not run.stage(needed).up_to_date():
            raise InputError(
                f"stage {name}",
                f"needs stage {needed}, which is not up to date with these settings",
                f"`{resume_command(_verb(needed), run.root, bool(run.settings.adapt.plugins))}` first",
            )
    folder = stage.open(keep=ALL_STAGES[name].in_parts)
    module = import_module(ALL_STAGES[name].module or f"ialp_rllib.stages.{name}")
    began = time.perf_counter()
    with progress.stage(name), storage_errors(folder):
        facts = module.run(run, folder, progress)
    stage.finish(facts, time.perf_counter() - began)
    return True


def _verb(stage: str) -> str:
    """The command that runs a stage: those of `ialp lea` have none of their own."""
    return "lea" if stage in LEA_STAGES else stage


def run_all(run: RunFolder, progress: Progress, names: Iterable[str] = ()) -> None:
    """Run these stages in order (empty: all that the report needs), each unless it is up to date.

    Raises:
        InputError: another process works in the run's folder, or what a stage refuses.
    """
    with locked(run.root):
        run.write_settings()
        _run_stages(run, progress, list(names) or needed_stages(run.settings))


def _run_stages(run: RunFolder, progress: Progress, names: list[str]) -> None:
    if "tune" in names and not run.stage("tune").up_to_date():
        check_model(run.settings.judge)  # before Ray is started and the stages before it have taken their time
    if "prepare" not in names and run.stage("prepare").up_to_date():
        require_suited(run, names)
    asks = {"tune", "pretrain" if run.settings.pretrain.mode == "live" else "distil"}
    try:
        for index, name in enumerate(names):
            run.kept.wanted = name == "tune" and not asks.isdisjoint(names[index + 1 :])
            if asks.isdisjoint(names[index:]):
                close_kept(run)
            run_stage(run, name, progress)
            if name == "prepare":
                require_suited(run, names[index + 1 :])
    finally:
        close_kept(run)
