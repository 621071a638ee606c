"""A run of `ialp lea` of seconds: few users, two passes, in this process and without Ray."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages import prepare
from ialp_rllib.stages.lea import augment, environment, tokens
from ialp_rllib.stages.lea.recommend import part_stage, parts_of, train_job
from ialp_rllib.stages.lea.rows import rows_of
from ialp_rllib.stages.run import RunFolder

SMALL = (
    "catalogue.log_users=40",
    "lea.tokens.trained=20",
    "lea.tokens.steps=2",
    "lea.environment.epochs=1",
    "lea.environment.share=0.5",
    "lea.augment.part=64",
    "lea.offline.epochs=2",
    "lea.offline.validate_every=1",
    "lea.offline.width=16",
    "lea.offline.warm_up=0",
)
MODULES = {"prepare": prepare, "tokens": tokens, "environment": environment, "augment": augment}


def small_lea(out: Path, *overrides: str) -> RunFolder:
    return RunFolder(load("sample", [*SMALL, *overrides]), out)


def until(run: RunFolder, *names: str) -> RunFolder:
    """Run these stages, each with its manifest."""
    for name in names or tuple(MODULES):
        stage = run.stage(name)
        if not stage.up_to_date():
            stage.finish(MODULES[name].run(run, stage.open(), Progress()), 0.0)
    return run


def recommended(run: RunFolder) -> RunFolder:
    """Train all rows, one after the other."""
    rows = {row.name: row for row in rows_of(run.settings.lea)}
    for row, seed in parts_of(run.settings):
        stage = part_stage(run, row, seed)
        if not stage.up_to_date():
            train_job(run.settings, str(run.root), stage, rows[row.name], seed)
    return run
