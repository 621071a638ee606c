"""The environment: hidden states of a backbone, made into states, similarities and rewards by three heads."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ialp_rllib.judge.environment.backbones import Backbone

_LOG_TEMPERATURE = 2.7  # initial; e^2.7 is about 15


class Environment(nn.Module):
    """Item tokens, a backbone, and heads.

    Args:
        backbone: makes hidden states of vectors ``(.., d)``.
        tokens: ``(I, d) float32``, one vector per item; not trained here, and in no vocabulary.
        width: size of the states.

    Attributes:
        width: as above.
    """

    def __init__(self, backbone: nn.Module, tokens: Tensor, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.register_buffer("tokens", tokens.float(), persistent=False)
        size = tokens.shape[1]
        self.state_head, self.action_head = nn.Linear(size, width), nn.Linear(size, width)
        self.score_head = nn.Linear(size, 1)
        self.log_temperature = nn.Parameter(torch.tensor(_LOG_TEMPERATURE))
        # A tied LLM's last state and its input vectors live in one space: their product is its next-token logit. One
        # projection for both is a start that knows something.
        nn.init.orthogonal_(self.state_head.weight)
        self.action_head.weight.data.copy_(self.state_head.weight)
        for head in (self.state_head, self.action_head, self.score_head):
            nn.init.zeros_(head.bias)

    @property
    def _backbone(self) -> Backbone:
        return cast(Backbone, self.backbone)

    @property
    def item_tokens(self) -> Tensor:
        """``(I, d)``, one vector per item."""
        return cast(Tensor, self.tokens)

    @property
    def n_items(self) -> int:
        """Number of items, I."""
        return len(self.item_tokens)

    @torch.no_grad()
    def keep(self, histories: list[np.ndarray]) -> list[Any]:
        """What does not change for these histories, see :meth:`.Backbone.keep`."""
        lengths = [len(items) + 1 for items in histories]
        index = np.zeros((len(histories), max(lengths) - 1), np.int64)
        for row, items in zip(index, histories, strict=True):
            row[: len(items)] = items
        vectors = self.item_tokens[torch.from_numpy(index)]
        bos = self._backbone.bos().float().expand(len(vectors), 1, -1)
        return self._backbone.keep(torch.cat([bos, vectors], 1), lengths)

    def hidden(self, kept: list[Any], candidates: np.ndarray) -> tuple[Tensor, Tensor]:
        """Hidden states ``(B, T + 1, d)`` after bos and each item, and ``(B, P, K, d)`` at candidates ``(B, P, K)``."""
        vectors = self.item_tokens[torch.from_numpy(candidates.astype(np.int64))]
        return self._backbone.hidden(kept, vectors)

    def states(self, hidden: Tensor) -> Tensor:
        """``(.., d)`` hidden states -> ``(.., width)`` unit vectors."""
        return F.normalize(self.state_head(hidden), dim=-1)

    def similarity(self, states: Tensor, items: Tensor | None = None) -> Tensor:
        """``(N, width)`` states -> ``(N, C)``: cosine with items ``(C,)`` (None: all), times the temperature."""
        return states @ self.action_vectors(items).T * self.log_temperature.exp()

    def action_vectors(self, items: Tensor | None = None) -> Tensor:
        """Unit vectors of items ``(C,)`` (None: all) that states are compared with, ``(C, width)``."""
        vectors = self.item_tokens if items is None else self.item_tokens[items]
        return F.normalize(self.action_head(vectors), dim=-1)

    def rewards(self, hidden: Tensor) -> Tensor:
        """``(.., d)`` hidden states at items -> ``(..)`` rewards, free up to a function of the state before."""
        found: Tensor = self.score_head(hidden)[..., 0]
        return found

    def trained(self) -> dict[str, Tensor]:
        """Name -> parameter that is learnt."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Restore what :meth:`trained` named."""
        for name, weight in self.trained().items():
            weight.copy_(weights[name])
