"""User models on disk: weights as ``model.safetensors``, sizes and the weights' hash as ``config.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ialp_rllib.errors import InputError
from ialp_rllib.storage import damaged_files, file_records, read_json, write_json
from ialp_rllib.storage.tensors import fill_from, read_tensors

WEIGHTS, CONFIG, HASH = "model.safetensors", "config.json", "weights"
_EXPECTED = "the file as it was fitted; delete the folder to fit the users again"


def save_model(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write the weights and the configuration of a model into ``folder``."""
    save_file({name: value.cpu() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {**config, HASH: file_records(folder, [WEIGHTS])})


def load_config(folder: Path) -> dict[str, Any]:
    """The configuration that :func:`save_model` wrote.

    Raises:
        InputError: it is damaged.
    """
    config: dict[str, Any] = read_json(folder / CONFIG, ("architecture",))
    return {name: value for name, value in config.items() if name != HASH}


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load the weights that :func:`save_model` wrote into a model of the same sizes, and set it to evaluation mode.

    Raises:
        InputError: they are damaged, or of another model.
    """
    path = folder / WEIGHTS
    for damaged, problem in damaged_files(folder, read_json(folder / CONFIG, (HASH,))[HASH]):
        raise InputError(str(damaged), problem, _EXPECTED)
    fill_from(model, read_tensors(path, expected=_EXPECTED), path, _EXPECTED)
    model.eval()
