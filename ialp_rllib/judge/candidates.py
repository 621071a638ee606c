"""Candidate items of a query: proposals, uniform or weighted, and the candidates that were not chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ialp_rllib.errors import InputError


def propose(history: np.ndarray, n_items: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Propose candidates uniformly at random, without replacement, among the items that are not in the session.

    Args:
        history: ``(B, t)`` items of each session, without padding.
        n_items: size of the catalogue, at least ``k + t``.
        k: number of candidates.
        rng: random generator.

    Returns:
        ``(B, k) int32``, in random order.

    Raises:
        InputError: there are fewer than ``k + t`` items.
    """
    rows, length = history.shape
    width = k + length
    if n_items < width:
        needs = f"judge.candidates + the session's items = {width}"
        raise InputError("items", f"there are {n_items}, too few for {k} candidates", f"at least {needs}")
    if n_items < 4 * width:
        return _propose_from_small_catalogue(history, n_items, k, rng)
    # Rejection sampling: a draw hits one of at most k + t excluded items with a probability below 1/4, so 2 (k + t)
    # draws nearly always contain k valid ones, whatever the size of the catalogue.
    proposals = np.empty((rows, k), np.int32)
    unfinished = np.arange(rows)
    while len(unfinished):
        drawn = rng.integers(0, n_items, (len(unfinished), 2 * width), dtype=np.int32)
        valid = _first_occurrences(np.concatenate([history[unfinished], drawn], 1))[:, length:]
        enough = valid.sum(1) >= k
        order = np.argsort(~valid[enough], axis=1, kind="stable")[:, :k]  # the valid draws, in the order drawn
        proposals[unfinished[enough]] = np.take_along_axis(drawn[enough], order, 1)
        unfinished = unfinished[~enough]
    return proposals


def _first_occurrences(values: np.ndarray) -> np.ndarray:
    """``(B, n) bool``: whether an entry is the leftmost of its value in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, 1)
    first = np.ones(values.shape, bool)
    first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, 1)
    return result


def _propose_from_small_catalogue(history: np.ndarray, n_items: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """As :func:`propose`, by the k lowest of I random keys."""
    keys = rng.random((len(history), n_items), dtype=np.float32)
    np.put_along_axis(keys, history, 2.0, 1)
    lowest = np.argpartition(keys, k - 1, axis=1)[:, :k]
    # The order of argpartition is unspecified, which is not the same as random: sort by the random keys.
    order = np.take_along_axis(keys, lowest, 1).argsort(1)
    return np.take_along_axis(lowest, order, 1).astype(np.int32)


class Drawn(NamedTuple):
    """Candidates of B prompts that were drawn with unequal probabilities.

    Attributes:
        candidates: ``(B, k) int32``, in random order.
        log_inclusion: ``(B, k) float64``, log of each candidate's probability of being among them.
    """

    candidates: np.ndarray
    log_inclusion: np.ndarray


def propose_weighted(
    items: np.ndarray,
    rate: np.ndarray,
    history: np.ndarray,
    n_items: int,
    k: int,
    rng: np.random.Generator,
    beyond: float = 0.0,
) -> Drawn:
    r"""Propose candidates one after the other, each in proportion to its rate among those that are left.

    Item i arrives after an exponentially distributed time of rate :math:`q_i`, and the first k are the candidates.
    Given the time :math:`\kappa` of the one after them, i is among them with probability :math:`1 - e^{-q_i \kappa}`,
    whatever the others do: a sum over the candidates that is divided by these probabilities estimates, without bias,
    the sum over all items. Of items that are not listed, which all have the same rate, k + 1 are enough.

    Args:
        items: ``(B, W)`` items, distinct in each row; -1: none.
        rate: ``(B, W) float64``; 0 for what is in the session, or no item.
        history: ``(B, t)`` distinct items of each session, without padding.
        n_items: size of the catalogue, I. With ``beyond`` at least ``W + t + k + 1``.
        k: number of candidates, at most that of the items with a rate above 0.
        rng: random generator.
        beyond: rate of each item that is neither listed nor in the session; 0: none of them is drawn.

    Source: Efraimidis and Spirakis 2006 (the draw); Cohen and Kaplan 2007, "Summarizing Data using Bottom-k Sketches"
    (the probabilities).
    """
    times: np.ndarray = np.full(rate.shape, np.inf)
    np.divide(rng.standard_exponential(rate.shape), rate, out=times, where=rate > 0)
    if beyond:
        rows = len(items)
        left = n_items - history.shape[1] - (rate > 0).sum(1)
        waits = rng.standard_exponential((rows, k + 1)) / ((left[:, None] - np.arange(k + 1)) * beyond)
        others = propose(np.concatenate([items, history], 1), n_items, k + 1, rng)
        items, times = np.concatenate([items, others], 1), np.concatenate([times, waits.cumsum(1)], 1)
        rate = np.concatenate([rate, np.full(others.shape, beyond)], 1)
    if k < times.shape[1]:
        first = np.argpartition(times, k, axis=1)[:, : k + 1]
        last = np.take_along_axis(times, first[:, k:], 1)
        first = first[:, :k]
    else:
        first, last = np.broadcast_to(np.arange(k), (len(times), k)), np.full((len(times), 1), np.inf)
    first = rng.permuted(first, axis=1)
    log_inclusion = np.log(-np.expm1(-np.take_along_axis(rate, first, 1) * last))
    return Drawn(np.take_along_axis(items, first, 1).astype(np.int32), log_inclusion)


def rejected_candidates(candidates: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The candidates that were not chosen.

    Args:
        candidates: ``(B, k)`` items, distinct in each row.
        item: ``(B,)``, the chosen one.

    Returns:
        ``(B, k - 1)``, in the order of ``candidates``.
    """
    n, k = candidates.shape
    return candidates[candidates != item[:, None]].reshape(n, max(k - 1, 0))
