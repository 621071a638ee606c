"""A trained sequential recommender on disk: ``recommender.safetensors`` and ``config.json`` of a row of `ialp lea`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import save_file

from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.policy.tensors import short
from ialp_rllib.errors import InputError
from ialp_rllib.settings import OfflineSettings, from_dict
from ialp_rllib.storage import read_json, write_atomic, write_json
from ialp_rllib.storage.tensors import fill_from, read_tensors

WEIGHTS, CONFIG = "recommender.safetensors", "config.json"
_KINDS: dict[str, tuple[type, int]] = {
    "settings": (dict, 0),
    "n_items": (int, 1),
    "masks_seen": (bool, 0),
    "environment_width": (int, 0),
}
"""Of what ``config.json`` holds: its kind, and of a number the least."""


class SavedRecommender(NamedTuple):
    """What is needed to rank; with ``le_to=q`` no LLM is.

    Attributes:
        network: in evaluation mode.
        masks_seen: whether it ranks the items that a user has not seen, as nobody in its training log came back to one.
    """

    network: SequentialRecommender
    masks_seen: bool


def save_recommender(
    folder: Path, network: SequentialRecommender, masks_seen: bool, environment_width: int, item_ids: np.ndarray
) -> None:
    """Write a recommender.

    Args:
        environment_width: size of the environment's states that it was trained with; 0: none.
        item_ids: ``(I,)``, the catalogue's names of the items.
    """
    weights = {name: weight.contiguous() for name, weight in network.state_dict().items()}
    write_atomic(folder / WEIGHTS, partial(save_file, weights))
    config = {
        "settings": dataclasses.asdict(network.settings),
        "n_items": network.n_items,
        "masks_seen": masks_seen,
        "environment_width": environment_width,
        "item_ids": item_ids.tolist(),
    }
    write_json(folder / CONFIG, config)


def load_recommender(folder: Path) -> SavedRecommender:
    """A recommender as :func:`save_recommender` left it.

    Raises:
        InputError: a file is missing, damaged, or that of another recommender.
    """
    expected = f"the recommender that `ialp lea` left; delete the folder {folder} to train it again"
    config = read_json(folder / CONFIG, tuple(_KINDS), expected)
    for name, (kind, least) in _KINDS.items():
        value = config[name]
        if type(value) is not kind or (isinstance(value, int) and value < least):
            raise InputError(str(folder / CONFIG), f"{name!r} is {short(value)}", expected)
    settings = from_dict(OfflineSettings, config["settings"], str(folder / CONFIG))
    network = SequentialRecommender(config["n_items"], settings, config["environment_width"])
    fill_from(network, read_tensors(folder / WEIGHTS, expected=expected), folder / WEIGHTS, expected)
    return SavedRecommender(network.eval(), config["masks_seen"])
