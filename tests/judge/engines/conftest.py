"""Copies of the packaged judge, broken or changed, and a cache of their own for what is converted."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.settings import JudgeSettings

WEIGHTS = "model.safetensors"
Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    """The folder of converted models."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ialp_rllib" / "models"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the packaged judge."""
    folder = tmp_path / "model"
    shutil.copytree(resolve_model("tiny"), folder)
    return folder


@pytest.fixture
def judge(sample) -> JudgeSettings:
    """Settings of a judge with transformers."""
    return dataclasses.replace(sample.judge, engine="transformers")


@pytest.fixture
def prompts(builder, examples) -> list[str]:
    return builder.build(examples.history[:6], examples.candidates[:6])


@pytest.fixture
def expected(transformers_engine, prompts) -> np.ndarray:
    """What the packaged judge answers."""
    return transformers_engine.ask(prompts).logprobs


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    weights = {name: value.contiguous() for name, value in change(load_file(folder / WEIGHTS)).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def change_json(file: Path, **values) -> None:
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
