"""Tuning runs of about a second: three candidates, two items of history. Also a program, for tests that kill it."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ialp_rllib import settings
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.tuning.tune import ADAPTER, CHECKPOINT, tune_judge
from ialp_rllib.settings import JudgeSettings


@functools.cache
def sample() -> tuple[settings.Settings, Catalogue]:
    loaded = settings.load("sample")
    return loaded, read_source(loaded.catalogue)


def small_judge(**tune: Any) -> JudgeSettings:
    """The sample's judge settings with three candidates, two items of history, and ``judge.tune`` as given."""
    judge = sample()[0].judge
    tune = {"interactions": 20, "batch": 4, "epochs": 2, "learning_rate": 2e-3, "held_out": 0.2, **tune}
    return dataclasses.replace(judge, candidates=3, history=2, tune=dataclasses.replace(judge.tune, **tune))


def learn(out: Path, judge: JudgeSettings, progress: Callable[[int, int], None] = lambda done, total: None) -> Any:
    return tune_judge(judge, sample()[1], "tiny", out, attributes=("genre",), progress=progress)


def adapter(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / ADAPTER / "adapter_model.safetensors")


def checkpoint(out: Path) -> Path:
    """The newest checkpoint; where there is none, a path that does not exist."""
    versions = sorted((out / CHECKPOINT).glob("tuning-*.safetensors"))
    return versions[-1] if versions else out / CHECKPOINT / "none"


LONG = {"interactions": 60, "epochs": 3, "batch": 4, "checkpoint_every": 4, "dropout": 0.1, "early_stopping": 2}

if __name__ == "__main__":
    torch.set_num_threads(1)
    learn(Path(sys.argv[1]), small_judge(**LONG))
