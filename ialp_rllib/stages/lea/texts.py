"""What the items' texts say without any learning: vectors of the control `text`, and the bars of the environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.catalogue.ranking_split import RankingSplit
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.vectors import centred, text_vectors, token_vectors
from ialp_rllib.judge.environment.quality import untrained
from ialp_rllib.settings import EMBEDDING, LLM, parse_judge_model
from ialp_rllib.stages.lea.model import INITIAL, TOKENS, sequences_of
from ialp_rllib.stages.lea.specs import text_encoder
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage.tensors import read_arrays


def encoded(run: RunFolder) -> np.ndarray:
    """Centred vectors of the items' texts, ``(I, D) float32``, by ``lea.text_encoder``.

    Raises:
        InputError: it names no encoder, or one that cannot be used.
    """
    settings = run.settings
    kind, folder = parse_judge_model(settings.lea.text_encoder)
    attributes = settings.catalogue.attributes
    if kind == EMBEDDING and folder:
        return centred(text_vectors(run.catalogue, folder, attributes))
    if settings.lea.text_encoder != LLM:
        raise InputError("lea.text_encoder", f"is {settings.lea.text_encoder}", f"{LLM}, or embedding:FOLDER")
    return centred(token_vectors(run.catalogue, resolve_model(settings.lea.model), attributes))


def held_out_sequences(split: RankingSplit) -> list[np.ndarray]:
    """The items of each validation user, whom no environment is learnt from."""
    return [split.valid.item[a:b] for a, b in zip(*sequences_of(split.valid), strict=True)]


def bars_of(run: RunFolder, split: RankingSplit) -> dict[str, Any]:
    """What the environment's states are to be better than, on the validation users (:func:`.untrained`).

    Returns:
        Measures by ``popularity``, by ``tokens`` (the item tokens before they learnt), and by ``text`` where
        ``lea.text_encoder`` is an encoder of texts.
    """
    vectors = {"tokens": read_arrays(run.root / "tokens" / TOKENS, (INITIAL,))[INITIAL]}
    if text_encoder(run.settings):
        vectors["text"] = encoded(run)
    popularity = split.train.popularity(split.n_items)
    return untrained(held_out_sequences(split), popularity, vectors, run.settings.lea.environment)
