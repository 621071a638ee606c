"""How good an environment is for users whom it has not seen: next items by similarity, comparisons by reward."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ialp_rllib.judge.environment.lesson import KeptHistories, UserLesson, padded
from ialp_rllib.judge.environment.losses import right
from ialp_rllib.judge.environment.model import DECAY, Environment
from ialp_rllib.judge.environment.negatives import Negatives
from ialp_rllib.results.ranking import BUCKETS, popularity_buckets, ranking_measures, ranks
from ialp_rllib.settings import EnvironmentSettings


def seen_pairs(items: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which items each state has seen: pairs of the state's number and the item, ``(Q,)`` each.

    Args:
        items: ``(B, T)`` histories, padded with -1.
        states: ``(B, T) bool``, which positions are counted as states, in row-major order.
    """
    row, place = np.nonzero(states)
    seen = np.arange(items.shape[1]) <= place[:, None]
    state, column = np.nonzero(seen)
    return state, items[row[state], column]


def decayed_means(vectors: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Untrained states: decayed sums of the vectors of the items so far, brought to length 1.

    Args:
        vectors: ``(I, d)``.
        items: ``(B, T)`` histories, padded with -1.

    Returns:
        ``(B, T, d) float32``.
    """
    return unit(decayed_sums(vectors, items))


def decayed_sums(vectors: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Each item's vector plus :data:`.DECAY` times the sum before it, ``(B, T, d) float32``."""
    found = np.zeros((*items.shape, vectors.shape[1]), np.float32)
    state = np.zeros((len(items), vectors.shape[1]), np.float32)
    for place in range(items.shape[1]):
        found[:, place] = state = DECAY * state + vectors[items[:, place]]
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; zeros stay zeros."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def calibration(margins: np.ndarray, bins: int = 5) -> dict[str, Any]:
    """How far the reward's probabilities of being right are true.

    Args:
        margins: ``(N,)`` reward of the chosen item less that of the other one. The reward says that the item with the
            higher one is chosen, with probability sigma(abs(margin)).
        bins: groups of equal size, by this probability.

    Returns:
        ``error``, the expected calibration error: the mean over comparisons of the difference between what is said and
        what is right in their group (a tie counts half); and the groups' ``said`` and ``right``.
    """
    said = 1 / (1 + np.exp(-np.abs(margins)))
    groups = [group for group in np.array_split(np.argsort(said, kind="stable"), bins) if len(group)]
    means = [(float(said[group].mean()), float(right(margins[group]).mean())) for group in groups]
    error = sum(len(group) * abs(a - b) for group, (a, b) in zip(groups, means, strict=True)) / len(margins)
    return {"error": error, "said": [a for a, _ in means], "right": [b for _, b in means]}


class _Batch(NamedTuple):
    """Some users' transitions.

    Attributes:
        items: ``(B, T)`` histories, padded with -1.
        inner: ``(B, T) bool``, positions with a next item; they are N states, in row-major order.
        seen: pairs of a state's number and an item that the user has seen, before the history, too, ``(Q,)`` each.
        target: ``(N,)`` next items.
    """

    items: np.ndarray
    inner: np.ndarray
    seen: tuple[np.ndarray, np.ndarray]
    target: np.ndarray


def _batch(items: np.ndarray, sequences: Sequence[np.ndarray]) -> _Batch:
    """Of histories ``(B, T)``, the last items of these sequences."""
    inner = np.zeros(items.shape, bool)
    inner[:, :-1] = items[:, 1:] >= 0
    state, item = seen_pairs(items, inner)
    earlier = [sequence[: -int(held)] for sequence, held in zip(sequences, (items >= 0).sum(1), strict=True)]
    row = np.nonzero(inner)[0]
    before = [earlier[index] for index in row]
    states = np.repeat(np.arange(len(row)), [len(one) for one in before])
    return _Batch(
        items, inner, (np.append(state, states), np.concatenate([item, *before])), items[:, 1:][inner[:, :-1]]
    )


def untrained(
    sequences: Sequence[np.ndarray],
    popularity: np.ndarray,
    vectors: Mapping[str, np.ndarray],
    settings: EnvironmentSettings,
) -> dict[str, dict[str, float]]:
    """What next items are ranked like without any learning: the bars of the states of :func:`quality`.

    Args:
        sequences: as there.
        popularity: as there.
        vectors: by name vectors of the items' texts, ``(I, d)`` each; histories are their decayed means.
        settings: ``history`` and ``batch`` are used.

    Returns:
        Measures of rankings by ``popularity`` and by each of the vectors, of the same cases as there.
    """
    units = {name: unit(values) for name, values in vectors.items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("popularity", *units)}
    order = np.argsort([len(items) for items in sequences], kind="stable")  # saves padding
    for rows in np.array_split(order, -(-len(order) // settings.batch)):
        some = [sequences[row] for row in rows]
        one = _batch(padded([items[-settings.history - 1 :] for items in some]), some)
        count = np.tile(popularity.astype(np.float32), (len(one.target), 1))
        found["popularity"].append(ranks(count, one.target, one.seen))
        for name, values in units.items():
            scores = decayed_means(values, one.items)[one.inner] @ values.T
            found[name].append(ranks(scores, one.target, one.seen))
    return {name: ranking_measures(np.concatenate(parts)) for name, parts in found.items()}


@torch.no_grad()
def quality(
    model: Environment,
    sequences: Sequence[np.ndarray],
    popularity: np.ndarray,
    settings: EnvironmentSettings,
    seed: int,
) -> dict[str, Any]:
    """Measures over the last ``history`` transitions of each sequence, with the items masked that it holds before them.

    Args:
        model: the environment.
        sequences: item arrays of two items or more, of users that it was not learnt from.
        popularity: ``(I,)`` interactions of each item in the training log.
        settings: ``batch`` and sizes are used.
        seed: of the draws.

    Returns:
        ``calibration_uniform`` and ``calibration_popular`` (:func:`calibration`), of the same comparisons;
        ``state`` and ``state_last``: measures of rankings; ``right_uniform`` and ``right_popular``, fractions of the
        comparisons with items that the user does not have that the reward gets right, ties counting half,
        ``right_by_bucket`` (of the chosen item's popularity), and ``transitions``.
    """
    model.eval()
    histories = [items[-settings.history - 1 :] for items in sequences]
    two = dataclasses.replace(settings, negatives=2)
    rng, kept = np.random.default_rng([seed, 7]), KeptHistories(model, histories)
    lesson = UserLesson(model, histories, list(sequences), kept, Negatives(popularity), two, rng)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("state", "last", "target", "margin")}
    for rows in lesson.parts(np.arange(len(lesson)), settings.batch):
        states, target, chosen, others = lesson.outputs(rows)
        one = _batch(lesson.items(rows), [sequences[row] for row in rows])
        parts["state"].append(ranks(model.similarity(states).float().cpu(), one.target, one.seen))
        row = np.nonzero(one.inner)[0]
        parts["last"].append(np.append(row[1:] != row[:-1], True))
        parts["target"].append(target.cpu().numpy())
        parts["margin"].append((chosen[:, None] - others).float().cpu().numpy())
    found = {name: np.concatenate(values) for name, values in parts.items()}
    margin, won = found["margin"], right(found["margin"])
    bucket = popularity_buckets(popularity)[found["target"]]
    return {
        "state": ranking_measures(found["state"]),
        "state_last": ranking_measures(found["state"][found["last"]]),
        "right_uniform": float(won[:, 0].mean()),
        "right_popular": float(won[:, 1].mean()),
        "right_by_bucket": {
            name: float(won[bucket == b].mean()) for b, name in enumerate(BUCKETS) if (bucket == b).any()
        },
        "calibration_uniform": calibration(margin[:, 0]),
        "calibration_popular": calibration(margin[:, 1]),
        "transitions": len(won),
    }
