"""SASRec state encoder, actor and critic heads over tied item embeddings: plain torch, no Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.items import Items
from ialp_rllib.agent.policy.terms import MASKED, Scores
from ialp_rllib.catalogue.features import Tokens


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks.

    Attributes:
        n_items: size of the catalogue; also the index that stands for "no item".
        history: items of the session in an observation, L.
        mask_recent: the last so many items may not be recommended; -1: all L of them.
        feedback: levels of the users' answers in an observation, see :class:`ialp_rllib.users.simulator.Simulator`.
        item_tokens: the items' attribute values and words, or None: items are known by their ids alone.
        user_codes: ``(U, F)`` category codes of the users' attributes, or None: the state knows no user.
        dueling: whether the critic has a state value of its own (:class:`Critic`).
    """

    n_items: int
    history: int
    dim: int = 64
    blocks: int = 1
    heads: int = 2
    mask_recent: int = 7
    feedback: int = 0
    shared_encoder: bool = False
    dueling: bool = True
    item_tokens: Tokens | None = None
    user_codes: np.ndarray | None = None
    user_sizes: list[int] = field(default_factory=list)

    @staticmethod
    def of(model_config: dict[str, Any], n_items: int) -> NetworkConfig:
        """From an RLModule's ``model_config``, which may hold more than the network needs."""
        known = {k: v for k, v in model_config.items() if k in NetworkConfig.__dataclass_fields__}
        return NetworkConfig(**{**known, "n_items": n_items})


class Block(nn.Module):
    """One self-attention block with pre-normalisation and a point-wise feed-forward network."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, L, d)`` and ``(B, 1, L, L) bool`` (True: may attend) -> ``(B, L, d)``."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm_in(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.feed(self.norm_out(x))


class Encoder(nn.Module):
    r"""State of the decision process: :math:`s_t = G(x_{1:t})`.

    G is SASRec: item and position embeddings, causal self-attention blocks. The state is the last position's output,
    the mean output over the session's positions, and, where users are known, the sum of their attributes' embeddings.
    Where the observation says how the user answered an item, the level's embedding is added to the item's; one that is
    not known adds nothing, so that what was pre-trained on sessions without answers goes on from there.

    Source: Kang & McAuley 2018, "Self-Attentive Sequential Recommendation"; iALP paper, section 3.1.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.items = Items(config.n_items, dim, config.item_tokens)
        self.position = nn.Parameter(torch.randn(config.history, dim) * 0.1)
        self.answers = nn.Parameter(torch.zeros(config.feedback + 1, dim)) if config.feedback else None
        self.blocks = nn.ModuleList(Block(dim, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(dim)
        self.register_buffer(
            "causal", torch.tril(torch.ones(config.history, config.history, dtype=torch.bool)), persistent=False
        )
        self.causal: Tensor
        self.codes: Tensor
        self.user: nn.ModuleList | None = None
        if config.user_codes is not None and config.user_sizes:
            self.register_buffer("codes", torch.as_tensor(config.user_codes, dtype=torch.int64), persistent=False)
            self.user = nn.ModuleList(nn.Embedding(size, dim) for size in config.user_sizes)

    @property
    def width(self) -> int:
        """Size of the state."""
        return self.config.dim * (3 if self.user is not None else 2)

    def forward(self, observation: Tensor, items: Tensor) -> Tensor:
        """``(B, 1 + L) int`` observations, ``(I + 1, d)`` item embeddings -> ``(B, width)`` states."""
        entries = self._trimmed(observation[:, 1:]).long()
        session = items_of(entries, self.config.n_items)
        real, length = session != self.config.n_items, session.shape[1]
        # A padded position attends to itself, so that no row of the mask is empty.
        itself = torch.eye(length, dtype=torch.bool, device=real.device)
        mask = (self.causal[:length, :length] & real[:, None, :]) | itself
        x = nn.functional.embedding(session, items) + self.position[-length:]
        if self.answers is not None:
            levels = torch.div(entries, self.config.n_items + 1, rounding_mode="floor")
            x = x + nn.functional.embedding(levels, self.answers, padding_idx=0)
        for block in self.blocks:
            x = block(x, mask[:, None])
        x = self.norm(x)
        weight = real.to(x.dtype)
        mean = torch.bmm(weight[:, None], x).squeeze(1) / weight.sum(1, keepdim=True).clamp(min=1)
        parts = [x[:, -1], mean]
        if self.user is not None:
            codes = self.codes[observation[:, 0].long()]
            parts.append(sum(embedding(codes[:, f]) for f, embedding in enumerate(self.user)))
        return torch.cat(parts, -1)

    def _trimmed(self, session: Tensor) -> Tensor:
        """Without the leading columns in which all sessions are padded: they change nothing but the time it takes.

        On a GPU they cost next to nothing, and to look for them would be to wait for it.
        """
        if session.device.type != "cpu":
            return session
        used = (session != self.config.n_items).any(0).nonzero()
        return session[:, int(used[0]) if len(used) else -1 :]


class Head(nn.Module):
    """A value for every item: a small network's output against the items' own embeddings, plus a bias per item.

    Tying the output to the item embeddings is what lets the agent learn rules about similar items: an untied layer as
    wide as the catalogue never learnt when users leave.
    """

    def __init__(self, width: int, dim: int, n_items: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.bias = nn.Parameter(torch.zeros(n_items + 1))

    def forward(self, state: Tensor, items: Tensor) -> Tensor:
        """``(B, width)`` states, ``(I + 1, d)`` item embeddings -> ``(B, I + 1)``."""
        return torch.addmm(self.bias, self.hidden(state), items.T)

    def scores(self, state: Tensor, items: Tensor) -> Scores:
        """The same, not computed yet."""
        return Scores(self.hidden(state), items, self.bias)


class Critic(nn.Module):
    r"""Q-values of all items: :math:`Q(s, a) = V(s) + h(s) \cdot e_a + b_a` (dueling), or without :math:`V`.

    With a state value of its own, the head over the items has only the differences between items to learn: on Coat,
    A2C learns in a fifth of the updates and ends two points higher. The mean over the actions is not subtracted: V
    is never read alone.

    Source: Wang et al. 2016, "Dueling Network Architectures for Deep Reinforcement Learning", equation 7.
    """

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.advantage = Head(width, config.dim, config.n_items)
        self.value: nn.Module | None = None
        if config.dueling:
            self.value = nn.Sequential(nn.Linear(width, config.dim), nn.ReLU(), nn.Linear(config.dim, 1))

    def forward(self, state: Tensor, items: Tensor) -> Tensor:
        """``(B, width)`` states, ``(I + 1, d)`` item embeddings -> ``(B, I + 1)``."""
        q = self.advantage(state, items)
        return q if self.value is None else q + self.value(state)

    def of(self, state: Tensor, items: Tensor, action: Tensor) -> Tensor:
        """Q-values of one item per state, ``(B,)``, by B products instead of B x I."""
        return self.advantage.scores(state, items).of(action) + self.state_value(state)

    def state_value(self, state: Tensor) -> Tensor:
        """V, ``(B,)``; 0 without dueling."""
        return state.new_zeros(len(state)) if self.value is None else self.value(state)[:, 0]


class Policy(nn.Module):
    """Encoder and actor head: logits over all items. The last column stands for "no item" and is always masked."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.actor = Head(self.encoder.width, config.dim, config.n_items)

    def forward(self, observation: Tensor) -> Tensor:
        """``(B, 1 + L)`` observations -> ``(B, I + 1)`` masked logits."""
        items = self.encoder.items()
        return self.logits(observation, self.encoder(observation, items), items)

    def logits(self, observation: Tensor, state: Tensor, items: Tensor) -> Tensor:
        """Masked logits from a state and item embeddings that are at hand."""
        return self.mask(self.actor(*self._seen(state, items)), observation)

    def scores(self, observation: Tensor, state: Tensor, items: Tensor) -> Scores:
        """The same, not computed yet."""
        session = masked_items(observation, self.config.mask_recent, self.config.n_items)
        pad = torch.full_like(session[:, :1], self.config.n_items)
        return self.actor.scores(*self._seen(state, items))._replace(masked=torch.cat([session, pad], 1))

    def _seen(self, state: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """What the actor's loss reaches the encoder by: nothing, unless it is shared."""
        return (state, items) if self.config.shared_encoder else (state.detach(), items.detach())

    def mask(self, values: Tensor, observation: Tensor) -> Tensor:
        """Write :data:`MASKED` over what may not be recommended, in place; returns ``values``."""
        return mask(values, observation, self.config.mask_recent)


def mask(values: Tensor, observation: Tensor, recent: int) -> Tensor:
    """Write :data:`MASKED` over "no item" and the last ``recent`` items (-1: all) of each session, in place.

    ``values``: ``(B, I + 1)``, returned; ``observation``: ``(B, 1 + L)``.
    """
    values.scatter_(1, masked_items(observation, recent, values.shape[1] - 1), MASKED)
    values[:, -1] = MASKED
    return values


def masked_items(observation: Tensor, recent: int, n_items: int) -> Tensor:
    """The last ``recent`` items (-1: all) of each session, ``(B, recent) int64``."""
    return items_of(observation[:, 1 if recent < 0 else observation.shape[1] - recent :].long(), n_items)


def items_of(entries: Tensor, n_items: int) -> Tensor:
    """The items of an observation's entries, without the levels of the answers."""
    return entries.remainder(n_items + 1)


class ActorCritic(nn.Module):
    """Policy and critic on one encoder; the unit that is trained, copied as target network, and saved."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.policy = Policy(config)
        self.critic = Critic(self.policy.encoder.width, config)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 1 + L)`` observations -> masked logits and unmasked Q-values, both ``(B, I + 1)``."""
        return values(self.policy, self.critic, observation)


def values(policy: Policy, critic: Critic, observation: Tensor) -> tuple[Tensor, Tensor]:
    """Masked logits and unmasked Q-values of all items, ``(B, I + 1)`` each, from one pass of the encoder."""
    items = policy.encoder.items()
    state = policy.encoder(observation, items)
    return policy.logits(observation, state, items), critic(state, items)
