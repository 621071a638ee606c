"""How a saved policy acts, in plain torch: what items are ranked by, and the probabilities when it samples.

Each module mirrors the way to act of an RLModule of :mod:`ialp_rllib.agent.rllib`, and computes the same to the bit.
``forward``: ``(B, 1 + L)`` int64 observations -> scores and probabilities, ``(B, I + 1)`` float32 each. Its state dict
has the names of ``policy.safetensors``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.blockwise import MASKED
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import Critic, NetworkConfig, Policy, mask, masked_items


class Softmax(nn.Module):
    """An actor: the softmax of its masked logits, by which items are ranked, too."""

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        self.policy = Policy(network)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        probs = torch.softmax(self.policy(observation), -1)
        return probs, probs


class Mixture(Softmax):
    """A frozen pre-trained actor theta mixed with the one that learnt online, by probabilities (Eq. 14)."""

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__(network)
        self.theta = Policy(network)
        self.register_buffer("alpha", torch.zeros(()))
        self.alpha: Tensor

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        probs, _ = super().forward(observation)
        probs = mixture(torch.softmax(self.theta(observation), -1), probs, self.alpha)
        return probs, probs


class GreedyQ(nn.Module):
    """Epsilon-greedy on the critic's Q-values, by which items are ranked."""

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        self.policy = Policy(network)
        self.critic = Critic(self.policy.encoder.width, network)
        self.register_buffer("epsilon", torch.zeros(()))
        self.epsilon: Tensor

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        items = self.policy.encoder.items()
        q = self.policy.mask(self.critic(self.policy.encoder(observation, items), items), observation)
        allowed = (q > MASKED).to(q.dtype)
        best = torch.zeros_like(q).scatter_(1, q.argmax(1, keepdim=True), 1.0)
        return q, torch.lerp(best, allowed / allowed.sum(1, keepdim=True), self.epsilon)


class Scores(nn.Module):
    """In proportion to one score per item, whatever the history."""

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        self.recent = network.mask_recent
        self.register_buffer("scores", torch.zeros(network.n_items + 1))
        self.scores: Tensor

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        scores = mask(self.scores.repeat(observation.shape[0], 1), observation, self.recent).clamp(min=0)
        probs = scores / scores.sum(1, keepdim=True)
        return probs, probs


class Listed(Scores):
    """One fixed list for everybody, played in order: the first item of it that the observed session does not hold.

    ``scores``: ``(I + 1,)``, the higher the earlier; the same for items that are not in the list. Where the session
    holds all items, they are repeated as far as the action mask allows. Sampling plays the same list.
    """

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return in_order(self.scores, observation, self.recent)


def in_order(scores: Tensor, observation: Tensor, recent: int) -> tuple[Tensor, Tensor]:
    """Scores and probabilities of :class:`Listed`, ``(B, I + 1)`` each, of one list's ``scores`` ``(I + 1,)``."""
    held = masked_items(observation, -1, len(scores) - 1)
    values = mask(scores.repeat(observation.shape[0], 1).scatter_(1, held, -1.0), observation, recent)
    return values, torch.zeros_like(values).scatter_(1, values.argmax(1, keepdim=True), 1.0)


ACTS: dict[str, type[nn.Module]] = {
    "softmax": Softmax,
    "mixture": Mixture,
    "q": GreedyQ,
    "scores": Scores,
    "list": Listed,
}
"""By the names in ``config.json``."""
