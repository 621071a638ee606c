"""The environment: hidden states of a backbone, made into states, similarities and rewards by three heads."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ialp_rllib.judge.environment.backbones import REWARDS, STATES, Backbone

DECAY = 0.7
"""Weight of an item in a decayed mean of a history relative to the next more recent one."""
_LOG_TEMPERATURE = 1.6  # initial; e^1.6 is about 5
_SIMILAR = 5.0  # initial weight of a cosine in a reward: cosines of two items differ by tenths, logits by ones
_UNIT = 10.0  # in which the scalars are learnt: they have to move by ones, where weights move by hundredths


class KeptHistory(NamedTuple):
    """A history with what its backbone keeps of it."""

    items: np.ndarray
    part: Any

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return int(getattr(self.part, "bytes", 0))


class Hidden(NamedTuple):
    """Hidden states: ``chain`` ``(B, T + 1, d)`` after bos and each item, ``beside`` ``(B, P, K, d)`` at candidates."""

    chain: Tensor
    beside: Tensor


class Environment(nn.Module):
    """Item tokens, a backbone, and heads.

    Args:
        backbone: makes hidden states of vectors ``(.., d)``.
        tokens: ``(I, d) float32``, one vector per item; not trained here, and in no vocabulary.
        width: size of the states.
        residual: add the decayed mean of the history's item tokens to its hidden states, as long as these. A state
            then begins as what the texts say without any learning, which adapters of few users do not reach.
        separate: the backbone has adapters for states and others for rewards.
        similar: add the similarity of state and item, times a learnt weight, to rewards. Comparisons of few users do
            not teach hidden states at items what the similarity of states learns from all items at once.

    Attributes:
        width: as above.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tokens: Tensor,
        width: int,
        residual: bool = False,
        separate: bool = False,
        similar: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self._separate = separate
        self.register_buffer("tokens", tokens.float(), persistent=False)
        size = tokens.shape[1]
        self.state_head, self.action_head = nn.Linear(size, width), nn.Linear(size, width)
        self.score_head = nn.Linear(size, 1)
        self.log_temperature = nn.Parameter(torch.tensor(_LOG_TEMPERATURE))
        self.residual = nn.Parameter(torch.tensor(1.0)) if residual else None
        self.similar = nn.Parameter(torch.tensor(_SIMILAR)) if similar else None
        # A tied LLM's last state and its input vectors live in one space: their product is its next-token logit. One
        # projection for both is a start that knows something; the principal axes of the tokens lose least of it.
        nn.init.orthogonal_(self.state_head.weight)
        if width < size:
            self.state_head.weight.data.copy_(principal_axes(self.item_tokens, width))
        self.action_head.weight.data.copy_(self.state_head.weight)
        # Comparisons of few users do not unlearn what a random direction says of hidden states.
        nn.init.zeros_(self.score_head.weight)
        for head in (self.state_head, self.action_head, self.score_head):
            nn.init.zeros_(head.bias)
        for name in ("log_temperature", "residual", "similar"):
            if getattr(self, name) is not None:
                parametrize.register_parametrization(self, name, _Units())

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
    def keep(self, histories: list[np.ndarray]) -> list[KeptHistory]:
        """What does not change for these histories, see :meth:`.Backbone.keep`."""
        lengths = [len(items) + 1 for items in histories]
        vectors = self.item_tokens[torch.from_numpy(_padded(histories))]
        bos = self._backbone.bos().float().expand(len(vectors), 1, -1)
        parts = self._backbone.keep(torch.cat([bos, vectors], 1), lengths)
        return [KeptHistory(items, part) for items, part in zip(histories, parts, strict=True)]

    def hidden(
        self, kept: list[KeptHistory], candidates: np.ndarray, states_beside: bool = False
    ) -> tuple[Hidden, Hidden]:
        """Hidden states that :meth:`states` and that :meth:`rewards` take; with one set of adapters they are the same.

        Args:
            kept: of B histories.
            candidates: ``(B, P, K)`` items, K after each of the first P.
            states_beside: whether states after the candidates are asked for, too.
        """
        rewards = self._hidden(kept, candidates, REWARDS)
        if not self._separate:
            return rewards, rewards
        return self._hidden(kept, candidates if states_beside else candidates[:, :0], STATES), rewards

    def chain(self, kept: list[KeptHistory]) -> Tensor:
        """``(B, T + 1, d)``, what :meth:`states` takes, after bos and each item."""
        return self._hidden(kept, np.zeros((len(kept), 0, 0), np.int64), STATES).chain

    def _hidden(self, kept: list[KeptHistory], candidates: np.ndarray, purpose: str) -> Hidden:
        vectors = self.item_tokens[torch.from_numpy(candidates.astype(np.int64))]
        found = Hidden(*self._backbone.hidden([one.part for one in kept], vectors, purpose))
        if self.residual is None:
            return found
        means = self._decayed([one.items for one in kept])
        after = DECAY * means[:, 1 : candidates.shape[1] + 1, None] + F.normalize(vectors, dim=-1)
        return Hidden(self._with_mean(found.chain, means), self._with_mean(found.beside, after))

    def _decayed(self, histories: list[np.ndarray]) -> Tensor:
        """``(B, T + 1, d)`` decayed sums of the unit tokens so far; 0 after bos."""
        tokens = F.normalize(self.item_tokens[torch.from_numpy(_padded(histories))], dim=-1)
        sums = [torch.zeros_like(tokens[:, 0])]
        for place in range(tokens.shape[1]):
            sums.append(DECAY * sums[-1] + tokens[:, place])
        return torch.stack(sums, 1)

    def _with_mean(self, hidden: Tensor, mean: Tensor) -> Tensor:
        assert self.residual is not None
        return hidden + self.residual * hidden.norm(dim=-1, keepdim=True).detach() * F.normalize(mean, dim=-1)

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

    def rewards(self, hidden: Tensor, states: Tensor, items: Tensor) -> Tensor:
        """Rewards of items, free up to a function of the state before.

        Args:
            hidden: ``(N, .., d)`` hidden states at items.
            states: ``(N, width)``, the states before these.
            items: ``(N, ..)``, the items.

        Returns:
            ``(N, ..)``.
        """
        found: Tensor = self.score_head(F.normalize(hidden, dim=-1))[..., 0]
        if self.similar is None:
            return found
        others = self.action_vectors(items.flatten()).view(*items.shape, self.width)
        if self._separate:  # adapters of states learn from their own loss alone
            states, others = states.detach(), others.detach()
        return found + self.similar * torch.einsum("nw,n...w->n...", states, others)

    def trained(self) -> dict[str, Tensor]:
        """Name -> parameter that is learnt."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Restore what :meth:`trained` named."""
        for name, weight in self.trained().items():
            weight.copy_(weights[name])


class _Units(nn.Module):
    """A scalar that is learnt in units of :data:`_UNIT`: AdamW moves weights of all sizes by its learning rate."""

    def forward(self, steps: Tensor) -> Tensor:
        """The scalar."""
        return steps * _UNIT

    def right_inverse(self, scalar: Tensor) -> Tensor:
        """What is learnt."""
        return scalar / _UNIT


def principal_axes(vectors: Tensor, count: int) -> Tensor:
    """The first ``count`` principal axes of the unit vectors of ``(I, d)``, ``(count, d)``, about zero."""
    units = F.normalize(vectors.double(), dim=-1)
    axes = torch.linalg.eigh(units.T @ units).eigenvectors
    return axes.flip(1).T[:count].float()


def _padded(histories: list[np.ndarray]) -> np.ndarray:
    """Histories as ``(B, T) int64``, padded with item 0 on the right."""
    index = np.zeros((len(histories), max(map(len, histories))), np.int64)
    for row, items in zip(index, histories, strict=True):
        row[: len(items)] = items
    return index
