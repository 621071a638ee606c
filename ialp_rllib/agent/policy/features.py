"""Features of items and users that the networks use in addition to ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.settings import Settings


def features(settings: Settings, catalogue: Catalogue, vectors: np.ndarray | None = None) -> dict[str, Any]:
    """Feature arguments of :class:`ialp_rllib.agent.policy.networks.NetworkConfig`.

    Args:
        vectors: ``(I, D)`` text vectors of the items, which stand for their attributes; None: none.

    Returns:
        ``text_vectors`` if given; else ``item_tokens``, if ``agent.item_attributes`` is set and the catalogue has item
        attributes; ``user_codes`` and
        ``user_sizes``, if the world's observations identify users (world ``rating``) and their attributes are known;
        and with ``agent.candidates`` the ``popularity`` of the items, which the networks do not read.
    """
    result: dict[str, Any] = {}
    if vectors is not None:
        result["text_vectors"] = vectors
    elif settings.agent.item_attributes and catalogue.item_texts:
        result["item_tokens"] = tokens_of(catalogue.item_texts)
    if settings.users.world == "rating" and catalogue.user_texts:
        result["user_codes"], result["user_sizes"] = catalogue.codes(catalogue.user_texts)
    if settings.agent.candidates.count:
        result["popularity"] = popularity(catalogue)
    return result
