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


def propose(probs: Tensor, k: int, how: str) -> Tensor:
    """k distinct items per row for a judge to pick from, in random order: LLMs prefer some letters.

    Args:
        probs: ``(B, A)``, 0 for items that may not be proposed; at least k others per row.
        how: ``sampled`` without replacement; ``top``: the most probable ones; ``mix``: half of them (rounded up) the
            most probable ones, the others sampled from what is left.

    Returns:
        ``(B, k) int64``.
    """
    if how == "sampled":
        items = sample_distinct(probs, k)
    elif how == "top":
        items = probs.topk(k, -1).indices
    elif how == "mix":
        top = probs.topk(k - k // 2, -1).indices
        items = torch.cat([top, sample_distinct(probs.scatter(-1, top, 0.0), k // 2)], -1)
    else:
        raise ValueError(f"proposals: expected sampled, top or mix, got {how!r}")
    return items.gather(-1, torch.rand(items.shape, device=items.device).argsort(-1))


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
