"""User models on disk: weights as ``model.safetensors``, sizes as ``config.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn


def save_model(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write the weights and the configuration of a model into ``folder``."""
    save_file({name: value.cpu() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def load_config(folder: Path) -> dict[str, Any]:
    """The configuration that :func:`save_model` wrote."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load the weights that :func:`save_model` wrote into a model of the same sizes, and set it to evaluation mode."""
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.eval()
