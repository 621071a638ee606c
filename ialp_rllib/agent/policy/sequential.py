r"""Sequential recommenders with a softmax and a Q head over tied item embeddings; bases SASRec, GRU4Rec, and those of
:mod:`.convolutional`.

One pass over a sequence gives the states after all its items, so that a sequence of T items teaches T - 1 transitions.
The states of the online agents (:class:`.networks.Encoder`) are others: they see positions counted from the end and the
mean over the session, which change with every item, so that each needs a pass of its own.

Sources: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; Hidasi et al., "Session-based
Recommendations with Recurrent Neural Networks", ICLR 2016; the two heads: Xin et al., "Self-Supervised Reinforcement
Learning for Recommender Systems", SIGIR 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.attention import Block
from ialp_rllib.agent.policy.convolutional import Caser, NextItNet
from ialp_rllib.agent.policy.items import Items
from ialp_rllib.catalogue.features import Tokens
from ialp_rllib.errors import InputError
from ialp_rllib.settings import OfflineSettings

_POSITION_STD = 0.02
# Initial; networks that do not normalise their input start slowly at 0.02.
_ITEM_STD = {"sasrec": 0.02, "gru4rec": 0.1, "nextitnet": 0.1, "caser": 0.1}


class SASRec(nn.Module):
    """Causal self-attention. Positions count from the first item of the window."""

    def __init__(self, settings: OfflineSettings) -> None:
        super().__init__()
        width, rate = settings.width, settings.dropout
        self.position = nn.Parameter(torch.randn(settings.history, width) * _POSITION_STD)
        self.blocks = nn.ModuleList(Block(width, settings.heads, rate) for _ in range(settings.blocks))
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` embeddings of items, T <= L -> ``(B, T, d)`` states after each of them."""
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        return self._encode(x + self.position[:length], causal)

    def with_actions(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """States after each item, and those after one more item in place of the logged next one.

        Both come from one pass: action t attends to the items up to t and to itself, at the position after them. After
        L items it takes the last position, which the window does not have.

        Args:
            x: ``(B, T, d)`` embeddings of the items.
            actions: ``(B, T, d)`` embeddings of the item that follows each.

        Returns:
            Two times ``(B, T, d)``.
        """
        length = x.shape[1]
        eye = torch.eye(length, dtype=torch.bool, device=x.device)
        causal = torch.ones_like(eye).tril()
        mask = torch.cat([torch.cat([causal, torch.zeros_like(eye)], 1), torch.cat([causal, eye], 1)])
        place = torch.arange(1, length + 1, device=x.device).clamp(max=len(self.position) - 1)
        both = torch.cat([x + self.position[:length], actions + self.position[place]], 1)
        found = self._encode(both, mask)
        return found[:, :length], found[:, length:]

    def _encode(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask[None, None])
        normed: Tensor = self.norm(x)
        return normed


class GRU4Rec(nn.Module):
    """One recurrent layer, with dropout before and behind it."""

    def __init__(self, settings: OfflineSettings) -> None:
        super().__init__()
        self.gru = nn.GRU(settings.width, settings.width, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` embeddings of items -> ``(B, T, d)`` states after each of them."""
        states: Tensor = self.dropout(self.gru(self.dropout(x))[0])
        return states

    def with_actions(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """States after each item, and those after one more item; as :meth:`SASRec.with_actions`."""
        hidden = self.gru(self.dropout(x))[0]
        step = self.dropout(actions).flatten(0, 1)[:, None]
        after = self.gru(step, hidden.flatten(0, 1)[None].contiguous())[0]
        return self.dropout(hidden), self.dropout(after.view_as(x))


Base = SASRec | GRU4Rec | NextItNet | Caser
BASES: dict[str, type[Base]] = {"sasrec": SASRec, "gru4rec": GRU4Rec, "nextitnet": NextItNet, "caser": Caser}


class SequentialRecommender(nn.Module):
    r"""Sequential model with two heads over tied item embeddings e.

    .. math:: \log \pi(a|s) = \log \mathrm{softmax}_a\, (W_\pi s) \cdot e_a, \qquad
              Q(s, a) = (W_q \tilde s) \cdot e_a + b_a, \qquad \tilde s = s + W\, \mathrm{LN}(s^e)

    with the state :math:`s^e` of the LLM environment, if there is one, or with a gate
    :math:`\tilde s = s + \sigma(W_g [s, w]) \odot w`, :math:`w = W\, \mathrm{LN}(s^e)`. With ``le_to = both`` the
    softmax takes :math:`\tilde s`, too.

    Args:
        n_items: number of items in the catalogue, I; also the index of padding, which stands at the right.
        settings: sizes, dropout, and how the environment's states join.
        environment_width: size of the environment's states; 0: none.
        tokens: attribute values and words of the items, or None: item ids only.

    Raises:
        InputError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, n_items: int, settings: OfflineSettings, environment_width: int = 0, tokens: Tokens | None = None
    ) -> None:
        super().__init__()
        width = settings.width
        if settings.base == "sasrec" and width % settings.heads:
            raise InputError("heads", f"is {settings.heads}", f"a divisor of width, {width}")
        self.n_items, self.settings = n_items, settings
        self.items = Items(n_items, width, tokens)
        nn.init.normal_(self.items.id.weight, std=_ITEM_STD[settings.base])
        self.base = BASES[settings.base](settings)
        self.supervised, self.q = nn.Linear(width, width), nn.Linear(width, width)
        self.q_bias = nn.Parameter(torch.zeros(n_items))
        self.count = nn.Linear(width, 1) if settings.objective == "eval" else None
        self.environment: nn.Module | None = None
        self.gate: nn.Module | None = None
        if environment_width:
            layers = nn.LayerNorm(environment_width), nn.Dropout(settings.dropout), nn.Linear(environment_width, width)
            self.environment = nn.Sequential(*layers)
            self.gate = nn.Linear(2 * width, width) if settings.le_join == "gate" else None

    def states(self, inputs: Tensor, table: Tensor) -> Tensor:
        """``(B, T)`` items, ``(I + 1, d)`` embeddings -> ``(B, T, d)`` states; those at padding mean nothing."""
        states: Tensor = self.base(nn.functional.embedding(inputs, table))
        return states

    def state_after(self, sessions: Tensor, table: Tensor) -> Tensor:
        """The state after the last item of sessions as the online agents see them, ``(B, d)``.

        Args:
            sessions: ``(B, L)``, padded with I at the left; the most recent ``history`` items are read.
            table: ``(I + 1, d)`` embeddings.
        """
        recent = sessions[:, -self.settings.history :]
        size = (recent < self.n_items).sum(1)
        place = torch.arange(recent.shape[1], device=recent.device) + recent.shape[1] - size[:, None]
        inputs = recent.gather(1, place.clamp(max=recent.shape[1] - 1))  # what is behind the session does not count
        rows = torch.arange(len(recent), device=recent.device)
        return self.states(inputs, table)[rows, (size - 1).clamp(min=0)]

    def states_with_actions(self, inputs: Tensor, actions: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`states`, and those after ``actions`` ``(B, T)`` in place of the next item; ``(B, T, d)`` each."""
        return self.base.with_actions(*(nn.functional.embedding(x, table) for x in (inputs, actions)))

    def joined(self, states: Tensor, environment: Tensor | None) -> Tensor:
        """States with those of the environment, ``(M, d)``; unchanged without."""
        if self.environment is None or environment is None:
            return states
        side: Tensor = self.environment(environment)
        if self.gate is not None:
            side = torch.sigmoid(self.gate(torch.cat([states, side], -1))) * side
        return states + side

    def logits(self, states: Tensor, table: Tensor) -> Tensor:
        """``(M, d)`` states -> ``(M, I)`` logits of the softmax head."""
        logits: Tensor = self.supervised(states) @ table[:-1].T
        return logits

    def log_probs_of(self, states: Tensor, items: Tensor, table: Tensor) -> Tensor:
        """log pi of K items each, ``(M, K)``, without an ``(M, I)`` gradient of zeros for each gather."""
        heads = self.supervised(states)
        chosen = torch.bmm(nn.functional.embedding(items, table), heads[:, :, None])[:, :, 0]
        found: Tensor = chosen - (heads @ table[:-1].T).logsumexp(1, keepdim=True)
        return found

    def values(self, states: Tensor, table: Tensor) -> Tensor:
        """``(M, d)`` joined states -> ``(M, I)`` Q of all items."""
        return torch.addmm(self.q_bias, self.q(states), table[:-1].T)

    def values_of(self, states: Tensor, items: Tensor, table: Tensor) -> Tensor:
        """Q of K items each, ``(M, K)``: the gradient touches K rows of the table, not I."""
        chosen = nn.functional.embedding(items, table)
        dots = torch.bmm(chosen, self.q(states)[:, :, None])[:, :, 0]
        return dots + self.q_bias[items]
