"""SASRec state encoder with actor and critic heads over tied item embeddings, in plain PyTorch.

An observation is ``(B, 1 + L)`` integers: the index of the user, then the last L entries of the session, padded on the
left with "no item" (index I). An entry is ``item + level * (I + 1)``, with the level of the user's answer to the item;
level 0 is an unknown answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.attention import Block
from ialp_rllib.agent.policy.blockwise import MASKED, LazyScores
from ialp_rllib.agent.policy.items import Items
from ialp_rllib.catalogue.features import Tokens


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and features of the networks.

    Attributes:
        n_items: number of items in the catalogue, I; also the index of "no item" (padding).
        history: number of session items in an observation, L.
        dim: size of the item embeddings and width of the encoder, d.
        blocks: number of self-attention blocks.
        heads: attention heads per block; must divide ``dim``.
        mask_recent: number of most recent session items that may not be recommended; -1: all L items.
        feedback: number of levels of the users' answers, see :class:`ialp_rllib.users.simulator.Simulator`; 0: none.
        shared_encoder: whether the gradient of the actor loss reaches the encoder.
        dueling: whether the critic has a separate state value, see :class:`Critic`.
        item_tokens: attribute values and words of the items, or None: item ids only.
        text_vectors: ``(I, D) float32`` frozen text vectors in the place of ``item_tokens``, or None.
        user_codes: ``(U, F) int`` category codes of the users' F attributes, or None: states do not depend on the user.
        user_sizes: number of categories of each user attribute, F numbers.
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
    text_vectors: npt.NDArray[np.float32] | None = None
    user_codes: npt.NDArray[np.integer[Any]] | None = None
    user_sizes: list[int] = field(default_factory=list)

    @staticmethod
    def from_model_config(model_config: dict[str, Any], n_items: int) -> NetworkConfig:
        """Select the network's fields from the ``model_config`` of an RLModule; other entries are ignored."""
        known = {k: v for k, v in model_config.items() if k in NetworkConfig.__dataclass_fields__}
        return NetworkConfig(**{**known, "n_items": n_items})


class Encoder(nn.Module):
    r"""State encoder of the decision process, :math:`s_t = G(x_{1:t})`, with SASRec as :math:`G`.

    Item and position embeddings pass through causal self-attention blocks. The state concatenates the output at the
    last position, the mean output over all session items and, if user attributes are known, the sum of their
    embeddings. If observations contain the users' answers, the embedding of the answer's level is added to that of the
    item. An unknown answer adds nothing, and level embeddings are initialised to zero, so that a policy pre-trained
    without answers behaves the same until they are trained.

    Source: Kang & McAuley 2018, "Self-Attentive Sequential Recommendation"; iALP paper, section 3.1.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.trims = config, True
        dim = config.dim
        self.items = Items(config.n_items, dim, config.item_tokens, config.text_vectors)
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
        """Dimension of the state."""
        return self.config.dim * (3 if self.user is not None else 2)

    def forward(self, observation: Tensor, items: Tensor | None) -> Tensor:
        """``(B, 1 + L) int`` observations, ``(I + 1, d)`` embeddings (None: the session's rows) -> ``(B, width)``."""
        entries = self._trim_padding(observation[:, 1:]).long()
        session = decode_items(entries, self.config.n_items)
        valid, length = session != self.config.n_items, session.shape[1]
        # Padded positions attend to themselves, so that no row of the mask is empty.
        diagonal = torch.eye(length, dtype=torch.bool, device=valid.device)
        mask = (self.causal[:length, :length] & valid[:, None, :]) | diagonal
        x = self.items.rows(session) if items is None else nn.functional.embedding(session, items)
        x = x + self.position[-length:]
        if self.answers is not None:
            levels = torch.div(entries, self.config.n_items + 1, rounding_mode="floor")
            x = x + nn.functional.embedding(levels, self.answers, padding_idx=0)
        for block in self.blocks:
            x = block(x, mask[:, None])
        x = self.norm(x)
        weight = valid.to(x.dtype)
        mean = torch.bmm(weight[:, None], x).squeeze(1) / weight.sum(1, keepdim=True).clamp(min=1)
        parts = [x[:, -1], mean]
        if self.user is not None:
            codes = self.codes[observation[:, 0].long()]
            parts.append(sum(embedding(codes[:, f]) for f, embedding in enumerate(self.user)))
        return torch.cat(parts, -1)

    def _trim_padding(self, session: Tensor) -> Tensor:
        """Remove leading columns in which all sessions are padded; this saves time and does not change the result.

        On a GPU these columns are cheap, and finding them would need a synchronisation. An exported program has no
        branches that depend on data: :mod:`.export` sets ``trims`` to False.
        """
        if session.device.type != "cpu" or not self.trims:
            return session
        used = (session != self.config.n_items).any(0).nonzero()
        return session[:, int(used[0]) if len(used) else -1 :]


class Head(nn.Module):
    r"""One output per item: a two-layer network's output times the item embeddings, plus a bias per item.

    .. math:: f(s)_i = h(s) \cdot e_i + b_i

    Tied item embeddings let the agent generalise over similar items: with an untied output layer as wide as the
    catalogue, agents failed to learn in worlds where users leave.
    """

    def __init__(self, width: int, dim: int, n_items: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.bias = nn.Parameter(torch.zeros(n_items + 1))

    def forward(self, state: Tensor, items: Tensor) -> Tensor:
        """``(B, width)`` states, ``(I + 1, d)`` item embeddings -> ``(B, I + 1)``."""
        return torch.addmm(self.bias, self.hidden(state), items.T)

    def scores(self, state: Tensor, items: Tensor) -> LazyScores:
        """The same outputs in factored form, evaluated on demand."""
        return LazyScores(self.hidden(state), items, self.bias)


class Critic(nn.Module):
    r"""Q-values of all items, :math:`Q(s, a) = V(s) + h(s) \cdot e_a + b_a` (dueling), or the same without :math:`V`.

    With a separate state value, the head over the items needs to learn only differences between items: on Coat, A2C
    then needs a fifth of the updates and reaches a return two points higher. The mean over actions is not subtracted,
    since V is never used as an estimate of the state value.

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
        q: Tensor = self.advantage(state, items)
        return q if self.value is None else q + self.value(state)

    def action_value(self, state: Tensor, items: Tensor, action: Tensor) -> Tensor:
        """Q-values of one item per state, ``(B,)``, with B dot products instead of B x I."""
        return self.advantage.scores(state, items).gather(action) + self.state_value(state)

    def state_value(self, state: Tensor) -> Tensor:
        """V(s), ``(B,)``; 0 without dueling."""
        if self.value is None:
            return state.new_zeros(len(state))
        value: Tensor = self.value(state)[:, 0]
        return value


class Policy(nn.Module):
    """Encoder and actor head: logits over all items. The last column is "no item" and is always masked."""

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
        """Masked logits, ``(B, I + 1)``, from states and item embeddings that have been computed already."""
        return self.mask(self.actor(*self._actor_inputs(state, items)), observation)

    def scores(self, observation: Tensor, state: Tensor, items: Tensor) -> LazyScores:
        """The same logits in factored form, evaluated on demand."""
        session = masked_items(observation, self.config.mask_recent, self.config.n_items)
        pad = torch.full_like(session[:, :1], self.config.n_items)
        return self.actor.scores(*self._actor_inputs(state, items))._replace(masked=torch.cat([session, pad], 1))

    def scores_of(self, observation: Tensor) -> LazyScores:
        """The same for observations ``(B, 1 + L)`` that have not been encoded yet."""
        items = self.encoder.items()
        return self.scores(observation, self.encoder(observation, items), items)

    def _actor_inputs(self, state: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Detached, unless the encoder is shared: the actor loss must not train an encoder that is not shared."""
        return (state, items) if self.config.shared_encoder else (state.detach(), items.detach())

    def mask(self, values: Tensor, observation: Tensor) -> Tensor:
        """Set items that may not be recommended to :data:`MASKED`, in place; see :func:`mask`."""
        return mask(values, observation, self.config.mask_recent)


def mask(values: Tensor, observation: Tensor, recent: int) -> Tensor:
    """Set "no item" and the most recent items of each session to :data:`MASKED`, in place.

    Args:
        values: ``(B, I + 1)`` logits or Q-values.
        observation: ``(B, 1 + L) int``.
        recent: number of most recent session items to mask; -1: all L items.

    Returns:
        ``values``.
    """
    values.scatter_(1, masked_items(observation, recent, values.shape[1] - 1), MASKED)
    values[:, -1] = MASKED
    return values


def masked_items(observation: Tensor, recent: int, n_items: int) -> Tensor:
    """The ``recent`` most recent items of each session (-1: all L items), ``(B, recent) int64``."""
    return decode_items(observation[:, 1 if recent < 0 else observation.shape[1] - recent :].long(), n_items)


def decode_items(entries: Tensor, n_items: int) -> Tensor:
    """Item indices of an observation's entries, without the levels of the users' answers."""
    return entries.remainder(n_items + 1)


class ActorCritic(nn.Module):
    """Policy and critic with a common encoder: the unit that is trained, copied as target network, and saved."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.policy = Policy(config)
        self.critic = Critic(self.policy.encoder.width, config)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 1 + L)`` observations -> masked logits and unmasked Q-values of all items, ``(B, I + 1)`` each."""
        items = self.policy.encoder.items()
        state = self.policy.encoder(observation, items)
        return self.policy.logits(observation, state, items), self.critic(state, items)
