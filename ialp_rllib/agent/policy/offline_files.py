"""A trained sequential recommender on disk: ``recommender.safetensors`` and ``config.json`` of a row of `ialp lea`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file, save_file

from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.settings import OfflineSettings, from_dict
from ialp_rllib.storage import read_json, write_atomic, write_json

WEIGHTS, CONFIG = "recommender.safetensors", "config.json"


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
        InputError: the file is damaged, or there is none.
    """
    config = read_json(folder / CONFIG, ("settings", "n_items", "masks_seen", "environment_width"))
    settings = from_dict(OfflineSettings, config["settings"], str(folder / CONFIG))
    network = SequentialRecommender(config["n_items"], settings, config["environment_width"])
    network.load_state_dict(load_file(folder / WEIGHTS))
    return SavedRecommender(network.eval(), config["masks_seen"])
