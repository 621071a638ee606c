"""Fits the user model of sequence worlds to a log: negative sampling, early stopping, calibration, evaluation."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import SequenceModelSettings
from ialp_rllib.users.sequence import ItemEmbeddings, SequenceModel, make_model, score_all, sessions_of

logger = logging.getLogger(__name__)

MEASURED = 5000  # maximum number of held-out next items in the evaluation
_RANKED = 25_000_000  # maximum number of scores computed for HR@10, which ranks next items among the whole catalogue
_BINS = 10
_AVERAGE = 0.01  # rate of the moving average of the weights
_RANDOM_STEPS = 5  # session length of the uniform random policy in the default world


class NextItemData:
    """Training data: logged next items with their sessions, and a sampler of negatives.

    Attributes:
        session: ``(M, window) int32``, items before each next item, see :func:`.sequence.sessions_of`.
        item: ``(M,) int64``, next items.
        starts: ``(U,) int64``, first items of the logs.
        popularity: ``(I,) float64``, number of occurrences of each item as a next item.
        generator: random generator of the samplers.
    """

    def __init__(self, catalogue: Catalogue, users: np.ndarray, window: int, seed: int) -> None:
        session, item = sessions_of(catalogue, users, window)
        self.session, self.item = torch.from_numpy(session), torch.from_numpy(item)
        self.n_items = catalogue.n_items
        self.starts = torch.from_numpy(catalogue.first_items(users)[1].astype(np.int64))
        self.popularity = torch.bincount(self.item, minlength=catalogue.n_items).double()
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Items drawn uniformly, int64 of the given shape."""
        return torch.randint(self.n_items, shape, generator=self.generator)

    @cached_property
    def _edges(self) -> Tensor:
        """Cumulative shares of the items, ``(I,)``."""
        weights = self.popularity**0.75
        return (weights.cumsum(0) / weights.sum()).contiguous()

    def popular(self, *shape: int) -> Tensor:
        """Items drawn with probability proportional to popularity ** 0.75 (Mikolov et al. 2013), int64."""
        drawn = torch.searchsorted(self._edges, torch.rand(shape, generator=self.generator, dtype=torch.float64))
        return drawn.clamp(max=self.n_items - 1)

    def negatives(self, kind: str, rows: Tensor, count: int) -> Tensor:
        """Negatives ``(B, count) int64`` for the next items ``rows`` ``(B,)``.

        Args:
            kind: ``uniform``, ``popularity``, or ``in_batch``: next items of other rows.
        """
        if kind == "uniform":
            return self.uniform(len(rows), count)
        if kind == "popularity":
            return self.popular(len(rows), count)
        others = torch.randint(len(rows), (len(rows), count), generator=self.generator)
        return self.item[rows][others]


def fit_sequence(
    catalogue: Catalogue,
    users: np.ndarray,
    settings: SequenceModelSettings,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
    family: str = "attention",
) -> tuple[SequenceModel, dict[str, Any]]:
    """Fit the model to logged next items and sampled negatives, with binary cross-entropy, and calibrate it.

    Early stopping uses the held-out AUC, which improves for longer than the loss, as the loss penalises overconfident
    predictions; a temperature, fitted to the same held-out part, corrects the overconfidence (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"). Evaluated and kept is the moving average of the weights (Polyak & Juditsky
    1992). The level of p is calibrated by :func:`calibrate`.

    Args:
        users: ``(n,) int``, users whose log is used.
        seed: random seed of the held-out part, initial weights, batches, dropout and negatives.
        progress: called with the number of passes so far and their maximum number.
        device: device of the training.
        family: which of the :data:`.sequence.FAMILIES`.

    Returns:
        The calibrated model of the best pass, on the CPU, and its quality: ``epochs`` (the best pass), ``next_items``,
        ``held_out_loss``, the results of :func:`quality`, and ``uniform_reward`` (:func:`calibrate`).
    """
    with torch.random.fork_rng(devices=[]):  # initial weights and dropout use the global generator
        torch.manual_seed(seed)
        return _fit(catalogue, users, settings, seed, progress, device, family)


def _fit(
    catalogue: Catalogue,
    users: np.ndarray,
    settings: SequenceModelSettings,
    seed: int,
    progress: Callable[[int, int], None] | None,
    device: str,
    family: str,
) -> tuple[SequenceModel, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    data = NextItemData(catalogue, users, settings.window, seed)
    order = torch.from_numpy(rng.permutation(len(data.item)))
    n_held = max(1, round(settings.held_out * len(order)))
    held, train = order[:n_held], order[n_held:]
    trained = make_model(catalogue, settings, family).to(device)
    model = copy.deepcopy(trained).eval()  # moving average
    optimizer = torch.optim.Adam(trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    held_negatives = data.negatives(settings.sampling, held, settings.negatives)
    best, best_state, best_epoch = -1.0, {}, 0
    for epoch in range(1, settings.epochs + 1):
        for rows in train[torch.randperm(len(train), generator=data.generator)].split(settings.batch):
            negatives = data.negatives(settings.sampling, rows, settings.negatives)
            loss = _loss(*_score(trained, data, rows, negatives))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(list(model.parameters()), list(trained.parameters()), _AVERAGE)
        logits, counted = _score_held(model, data, held, held_negatives)
        auc = _auc(logits[:, :1], logits[:, 1:], counted[:, 1:])
        if progress:
            progress(epoch, settings.epochs)
        if auc > best + 1e-4:
            best, best_epoch = auc, epoch
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        if epoch - best_epoch >= settings.early_stopping:
            break
    model.load_state_dict(best_state)
    logits, counted = _score_held(model, data, held, held_negatives)
    model.slope.fill_(_temperature(logits, counted))
    model.cpu().eval()
    results = {"held_out_loss": float(_loss(model.slope * logits.cpu(), counted.cpu()))}
    results |= quality(model, data, held[:MEASURED], settings.negatives)
    results["uniform_reward"] = calibrate(model, data, settings)
    logger.info("sequence model: best after %d passes, held-out AUC %.3f", best_epoch, results["held_out_auc"])
    return model, {"epochs": best_epoch, "next_items": len(order), **results}


def _score(model: SequenceModel, data: NextItemData, rows: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(B, 1 + C)`` of next item and negatives, and their mask ``(B, 1 + C) bool``.

    The mask excludes negatives that equal the next item.
    """
    device = model.offset.device
    items = torch.cat([data.item[rows, None], negatives], 1)
    logits = model(data.session[rows].long().to(device), items.to(device))
    counted = torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), negatives != items[:, :1]], 1)
    return logits, counted.to(device)


@torch.no_grad()
def _score_held(model: SequenceModel, data: NextItemData, rows: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    parts = [_score(model, data, r, n) for r, n in zip(rows.split(4096), negatives.split(4096), strict=True)]
    logits, counted = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(counted)


def _loss(logits: Tensor, counted: Tensor) -> Tensor:
    """Binary cross-entropy; column 0 of the logits ``(B, 1 + C)`` is positive. Excluded entries count as 0."""
    target = torch.zeros_like(logits)
    target[:, 0] = 1
    return nn.functional.binary_cross_entropy_with_logits(logits, target, counted.to(logits.dtype))


def _auc(true: Tensor, other: Tensor, counted: Tensor) -> float:
    """Fraction of the counted pairs in which the true score is higher; ties count half."""
    wins = (true > other).double() + 0.5 * (true == other).double()
    return float(wins[counted].mean())


def _temperature(logits: Tensor, counted: Tensor) -> float:
    """Factor on the logits that minimises the loss, by golden-section search of its logarithm, from 0.1 to 10."""
    low, high, ratio = -2.3, 2.3, (5**0.5 - 1) / 2
    for _ in range(30):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(np.exp(left) * logits, counted) < _loss(np.exp(right) * logits, counted):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


@torch.no_grad()
def quality(model: SequenceModel, data: NextItemData, held: Tensor, negatives: int) -> dict[str, Any]:
    """Evaluate a model on held-out next items, before :func:`calibrate`.

    Args:
        held: ``(n,) int64``, rows of the held-out next items.
        negatives: number of negatives per next item.

    Returns:
        ``held_out_auc``: probability that the next item scores higher than a uniformly drawn item;
        ``held_out_auc_popular``: than an item drawn by popularity; ``held_out_hr_10``: fraction of next items among the
        10 highest-scored items outside the session; ``calibration``: reliability curve of next items and uniform
        negatives, in ten bins of equal size by p, with mean ``predicted`` p, ``observed`` fraction of next items, and
        ``count``; ``calibration_error``: mean absolute difference of the two.
    """
    table = model.table()
    session, item = data.session[held].long(), data.item[held]
    true = _scores(model, session, item[:, None], table)[:, 0]
    uniform = data.uniform(len(held), negatives)
    against = {"": uniform, "_popular": data.popular(len(held), negatives)}
    out: dict[str, Any] = {}
    for name, items in against.items():
        other = _scores(model, session, items, table)
        out[f"held_out_auc{name}"] = _auc(true[:, None], other, items != item[:, None])
    ranked = max(1, _RANKED // model.n_items)
    out["held_out_hr_10"] = float((_ranks(model, session[:ranked], item[:ranked], table) < 10).double().mean())
    p = torch.sigmoid(torch.cat([true[:, None], _scores(model, session, uniform, table)], 1)).flatten()
    target = torch.zeros(len(held), 1 + negatives)
    target[:, 0] = 1
    groups = p.argsort().tensor_split(_BINS)
    curve = [
        {"predicted": float(p[g].mean()), "observed": float(target.flatten()[g].mean()), "count": len(g)}
        for g in groups
    ]
    out["calibration"] = curve
    out["calibration_error"] = float(np.mean([abs(c["predicted"] - c["observed"]) for c in curve]))
    return out


def _scores(model: SequenceModel, session: Tensor, items: Tensor, table: ItemEmbeddings) -> Tensor:
    parts = zip(session.split(1024), items.split(1024), strict=True)
    return torch.cat([model(s, i, table) for s, i in parts])


def _ranks(model: SequenceModel, session: Tensor, item: Tensor, table: ItemEmbeddings) -> Tensor:
    """Number of items outside the session with a higher score than the next item, ``(M,) int64``."""
    ranks = []
    for s, i in zip(session.split(256), item.split(256), strict=True):
        true = _scores(model, s, i[:, None], table)
        ranks.append((score_all(model, s, table) > true).sum(1))
    return torch.cat(ranks)


@torch.no_grad()
def calibrate(model: SequenceModel, data: NextItemData, settings: SequenceModelSettings) -> float:
    """Set the offset of the logits so that a uniform random policy has the mean reward ``uniform_reward``.

    Training with sampled negatives identifies the ranking, but not the level of p, which depends on their number. The
    offset is determined by bisection on 4,096 items drawn uniformly, each after a session of the random policy: the
    first item of a log and up to four items drawn uniformly.

    Returns:
        The mean reward with this offset.
    """
    n = 4096
    session = torch.full((n, model.window), model.n_items)
    longest = min(_RANDOM_STEPS, model.window) - 1
    session[:, model.window - 1 - longest :] = data.uniform(n, longest + 1)
    steps = torch.randint(longest + 1, (n,), generator=data.generator)
    rows, first = torch.arange(n), model.window - 1 - steps
    session[torch.arange(model.window)[None] < first[:, None]] = model.n_items
    session[rows, first] = data.starts[torch.randint(len(data.starts), (n,), generator=data.generator)]
    model.offset.zero_()
    logits = model(session, data.uniform(n, 1))
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(settings.reward_scale * torch.sigmoid(logits + middle).mean())
        low, high = (middle, high) if mean < settings.uniform_reward else (low, middle)
    model.offset.fill_(middle)
    return mean
