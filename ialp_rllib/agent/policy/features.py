"""What an agent's networks know of items and users beside their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.settings import Settings

if TYPE_CHECKING:
    pass


def features(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """What the agent knows of items, where ``agent.item_attributes``, and of users, where the world shows them."""
    found: dict[str, Any] = {}
    if settings.agent.item_attributes and catalogue.item_texts:
        found["item_tokens"] = tokens_of(catalogue.item_texts)
    if settings.users.world == "rating" and catalogue.user_texts:
        found["user_codes"], found["user_sizes"] = catalogue.codes(catalogue.user_texts)
    return found
