"""How to act: sampling from a policy's probabilities, without a per-row loop and without ``torch.multinomial``."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(probs: Tensor) -> Tensor:
    """One item per row by inverse CDF: B uniform numbers instead of B x A.

    Args:
        probs: ``(B, A)`` non-negative, rows need not sum to one.

    Returns:
        ``(B,) int64``; an item of probability 0 is never drawn.
    """
    cumulative = probs.cumsum(-1)
    # A uniform number in (0, total]: searchsorted then returns the first item whose cumulative sum reaches it.
    drawn = (1 - torch.rand(len(probs), 1, device=probs.device)) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn).squeeze(1)


def sample_distinct(probs: Tensor, k: int) -> Tensor:
    """k distinct items per row, drawn one after the other without replacement: the first k of an exponential race.

    Returns:
        ``(B, k) int64`` in the order of drawing.

    Source: Kool et al. 2019, "Stochastic Beams and Where to Find Them" (Gumbel-top-k, here on the exponential scale).
    """
    return (probs / torch.empty_like(probs).exponential_()).topk(k, -1).indices


def epsilon_greedy(probs: Tensor, epsilon: float) -> Tensor:
    """The most probable item, or with probability ``epsilon`` a uniform one of those with any probability. ``(B,)``."""
    uniform = sample((probs > 0).to(probs.dtype))
    explore = torch.rand(len(probs), device=probs.device) < epsilon
    return torch.where(explore, uniform, probs.argmax(-1))


def act(probs: Tensor, how: str, epsilon: float = 0.0) -> Tensor:
    """Items by ``categorical`` sampling, ``epsilon_greedy`` or ``greedy``. ``(B, A)`` -> ``(B,) int64``."""
    if how == "categorical":
        return sample(probs)
    if how == "epsilon_greedy":
        return epsilon_greedy(probs, epsilon)
    if how == "greedy":
        return probs.argmax(-1)
    raise ValueError(f"exploration: expected categorical, epsilon_greedy or greedy, got {how!r}")
