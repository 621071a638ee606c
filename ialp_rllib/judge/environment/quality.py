"""How good an environment is for users whom it has not seen: next items by similarity, comparisons by reward."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ialp_rllib.judge.environment.lesson import KeptHistories, UserLesson
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
        what is right in their group; and the groups' ``said`` and ``right``.
    """
    said = 1 / (1 + np.exp(-np.abs(margins)))
    groups = [group for group in np.array_split(np.argsort(said, kind="stable"), bins) if len(group)]
    means = [(float(said[group].mean()), float((margins[group] > 0).mean())) for group in groups]
    error = sum(len(group) * abs(a - b) for group, (a, b) in zip(groups, means, strict=True)) / len(margins)
    return {"error": error, "said": [a for a, _ in means], "right": [b for _, b in means]}


@torch.no_grad()
def quality(
    model: Environment,
    histories: list[np.ndarray],
    popularity: np.ndarray,
    settings: EnvironmentSettings,
    seed: int,
) -> dict[str, Any]:
    """Measures over all transitions of ``histories``, with the items masked that a history holds before them.

    Args:
        model: the environment.
        histories: item arrays of two items or more, of users that it was not learnt from; of longer ones the last
            items (stage `environment`: ``history + 1``).
        popularity: ``(I,)`` interactions of each item in the training log.
        settings: ``batch`` and sizes are used.
        seed: of the draws.

    Returns:
        ``calibration_uniform`` and ``calibration_popular`` (:func:`calibration`), of the same comparisons;
        ``state``, ``popularity`` and ``tokens`` (decayed means of the item tokens, untrained): measures of rankings;
        ``state_last``; ``right_uniform`` and ``right_popular``, fractions of the comparisons that the reward gets
        right, ``right_by_bucket`` (of the chosen item's popularity), and ``transitions``.
    """
    model.eval()
    negatives = Negatives(popularity)
    two = dataclasses.replace(settings, negatives=2)
    rng = np.random.default_rng([seed, 7])
    lesson = UserLesson(model, histories, KeptHistories(model, histories), negatives, two, rng)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("state", "popularity", "tokens", "last", "target")}
    margins = []
    vectors = F.normalize(model.item_tokens, dim=1).cpu().numpy()
    for rows in lesson.parts(np.arange(len(lesson)), settings.batch):
        states, target_, chosen, others = lesson.outputs(rows)
        items = lesson.items(rows)
        inner = np.zeros(items.shape, bool)
        inner[:, :-1] = items[:, 1:] >= 0
        seen, target = seen_pairs(items, inner), target_.cpu().numpy()
        parts["state"].append(ranks(model.similarity(states).float().cpu(), target, seen))
        parts["popularity"].append(ranks(np.tile(popularity.astype(np.float32), (len(target), 1)), target, seen))
        parts["tokens"].append(ranks(decayed_means(vectors, items)[inner] @ vectors.T, target, seen))
        row = np.nonzero(inner)[0]
        parts["last"].append(np.append(row[1:] != row[:-1], True))
        parts["target"].append(target)
        margins.append((chosen[:, None] - others).float().cpu().numpy())
    rank = {name: np.concatenate(values) for name, values in parts.items()}
    margin = np.concatenate(margins)
    won = margin > 0
    bucket = popularity_buckets(popularity)[rank["target"]]
    measured = {name: ranking_measures(rank[name]) for name in ("state", "popularity", "tokens")}
    return {
        **measured,
        "state_last": ranking_measures(rank["state"][rank["last"]]),
        "right_uniform": float(won[:, 0].mean()),
        "right_popular": float(won[:, 1].mean()),
        "right_by_bucket": {
            name: float(won[bucket == b].mean()) for b, name in enumerate(BUCKETS) if (bucket == b).any()
        },
        "calibration_uniform": calibration(margin[:, 0]),
        "calibration_popular": calibration(margin[:, 1]),
        "transitions": len(won),
    }
