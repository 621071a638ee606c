"""Action selection from a policy's probabilities, vectorised over states and without ``torch.multinomial``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ialp_rllib.agent.policy.networks import masked_items
from ialp_rllib.errors import IalpError, InputError

_PROBS = 1 << 24  # probabilities of states x items that are held at a time


def row_blocks(rows: int, n_items: int) -> Iterator[slice]:
    """Slices of B states, small enough for the probabilities of all items; one slice where the catalogue is small."""
    size = max(1, _PROBS // n_items)
    return (slice(start, start + size) for start in range(0, rows, size))


def require_allowed(observation: Tensor, recent: int, n_items: int, k: int = 1) -> None:
    """Check that every state leaves at least k items that may be recommended; free of cost in catalogues large enough.

    Args:
        observation: ``(B, 1 + L) int``.
        recent: number of most recent session items that are masked; -1: all L items.
        n_items: size of the catalogue, I.
        k: number of items that are to be selected.

    Raises:
        InputError: a state leaves fewer. Its masked items would be selected, or "no item".
    """
    masked = masked_items(observation, recent, n_items)
    if n_items - masked.shape[1] >= k:
        return
    allowed = masked.new_ones(len(masked), n_items + 1).scatter_(1, masked, 0)[:, :-1].sum(1)
    least = int(allowed.min())
    if least < k:
        problem = f"leaves {least} of the {n_items} items to a state, where {k} must be recommended"
        raise InputError("agent.mask_recent", problem, "a lower value, shorter sessions or more items")


def require_items(selected: Tensor, n_items: int) -> Tensor:
    """Check that selected indices are items; those of NaN probabilities are not.

    Raises:
        IalpError: an index is "no item" (I) or beyond.
    """
    if bool((selected >= n_items).any()):
        raise IalpError("the policy selected no item: its probabilities are not finite. Use lower learning rates")
    return selected


def sample(probs: Tensor, generator: torch.Generator | None = None, precision: torch.dtype | None = None) -> Tensor:
    """Sample one item per row by the inverse CDF, with B uniform numbers instead of B x A.

    Args:
        probs: ``(B, A)`` non-negative weights; rows need not sum to one.
        generator: of the uniform numbers; None: the default one.
        precision: of the uniform numbers; None: torch's default, float32.

    Returns:
        ``(B,) int64``; items of weight 0 are never drawn.
    """
    cumulative = probs.cumsum(-1)
    # A uniform number in (0, total]: searchsorted returns the first item whose cumulative sum reaches it.
    uniform = torch.rand(len(probs), 1, device=probs.device, generator=generator, dtype=precision)
    drawn = (1 - uniform) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn).squeeze(1)


def sharpen(probs: Tensor, temperature: Tensor) -> Tensor:
    r"""Probabilities at a temperature T, in proportion to :math:`p^{1/T}`; items of probability 0 keep it.

    Args:
        probs: ``(B, A)`` non-negative weights, at least one of them positive in each row.
        temperature: broadcast to ``(B, A)``; under 1: nearer to the greedy policy.

    Returns:
        ``(B, A)``, rows sum to one.
    """
    return torch.softmax(probs.log() / temperature, -1)


def sample_distinct(probs: Tensor, k: int) -> Tensor:
    """Sample k distinct items per row, sequentially without replacement, as the first k of an exponential race.

    Args:
        probs: ``(B, A)`` non-negative weights.

    Returns:
        ``(B, k) int64``, in the order of drawing.

    Source: Kool et al. 2019, "Stochastic Beams and Where to Find Them" (Gumbel-top-k, here on the exponential scale).
    """
    return (probs / torch.empty_like(probs).exponential_()).topk(k, -1).indices


def propose(probs: Tensor, k: int, strategy: str) -> Tensor:
    """Select k distinct candidates per row for a judge, in random order, since LLMs are biased towards some positions.

    Args:
        probs: ``(B, A)``, 0 for items that may not be proposed; at least k positive entries per row.
        strategy: ``sampled``: without replacement; ``top``: the most probable items; ``mix``: the most probable items
            for half of the candidates (rounded up), the rest sampled from the remaining items.

    Returns:
        ``(B, k) int64``.

    Raises:
        ValueError: unknown strategy.
    """
    if strategy == "sampled":
        items = sample_distinct(probs, k)
    elif strategy == "top":
        items = probs.topk(k, -1).indices
    elif strategy == "mix":
        top = probs.topk(k - k // 2, -1).indices
        items = torch.cat([top, sample_distinct(probs.scatter(-1, top, 0.0), k // 2)], -1)
    else:
        raise ValueError(f"proposals: expected sampled, top or mix, got {strategy!r}")
    return items.gather(-1, torch.rand(items.shape, device=items.device).argsort(-1))


def epsilon_greedy(probs: Tensor, epsilon: float) -> Tensor:
    """Select the most probable item, or with probability ``epsilon`` a uniform item among those with positive weight.

    Args:
        probs: ``(B, A)`` non-negative weights.

    Returns:
        ``(B,) int64``.
    """
    uniform = sample((probs > 0).to(probs.dtype))
    explore = torch.rand(len(probs), device=probs.device) < epsilon
    return torch.where(explore, uniform, probs.argmax(-1))


def act(probs: Tensor, mode: str, epsilon: float = 0.0) -> Tensor:
    """Select one item per row.

    Args:
        probs: ``(B, A)`` non-negative weights.
        mode: ``categorical`` (sampled), ``epsilon_greedy`` or ``greedy``.
        epsilon: probability of a uniform item, for ``epsilon_greedy``.

    Returns:
        ``(B,) int64``.

    Raises:
        ValueError: unknown mode.
    """
    if mode == "categorical":
        return sample(probs)
    if mode == "epsilon_greedy":
        return epsilon_greedy(probs, epsilon)
    if mode == "greedy":
        return probs.argmax(-1)
    raise ValueError(f"exploration: expected categorical, epsilon_greedy or greedy, got {mode!r}")


def act_probabilities(probs: Tensor, mode: str, epsilon: float = 0.0) -> Tensor:
    """Probability with which :func:`act` selects each item.

    Args:
        probs: ``(B, A)`` non-negative weights.
        mode, epsilon: as of :func:`act`.

    Returns:
        ``(B, A)``; rows sum to one, or are 0 where all weights are.

    Raises:
        ValueError: unknown mode.
    """
    if mode == "categorical":
        return probs / probs.sum(-1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny)
    allowed = (probs > 0).to(probs.dtype)
    best = torch.zeros_like(probs).scatter_(-1, probs.argmax(-1, keepdim=True), 1.0) * allowed
    if mode == "greedy":
        return best
    if mode == "epsilon_greedy":
        return torch.lerp(best, allowed / allowed.sum(-1, keepdim=True).clamp(min=1.0), epsilon)
    raise ValueError(f"exploration: expected categorical, epsilon_greedy or greedy, got {mode!r}")
