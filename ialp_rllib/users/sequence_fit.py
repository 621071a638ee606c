"""Fitting the user model of a sequence world to a log: negatives, early stopping, calibration, quality report."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import SequenceModelSettings
from ialp_rllib.users.sequence import Embedded, SequenceModel, make_model, score_all, sessions_of

log = logging.getLogger(__name__)

MEASURED = 5000  # held-out next items that the quality report is made of, at most
_RANKED = 25_000_000  # at most so many scores go into HR@10, which ranks each next item among the whole catalogue
_BINS = 10
_AVERAGE = 0.01  # rate of the running mean of the weights
_RANDOM_STEPS = 5  # length of a session of the uniform random policy in the default world


class Log:
    """Logged next items with their sessions, and the sampler of items that were not chosen.

    Attributes:
        session: ``(M, window)`` int32; item: ``(M,)`` int64.
        starts: ``(U,)`` int64, the first items of the logs.
        popularity: ``(I,)`` float64, how often each item was chosen.
    """

    def __init__(self, catalogue: Catalogue, users: np.ndarray, window: int, seed: int) -> None:
        session, item = sessions_of(catalogue, users, window)
        self.session, self.item = torch.from_numpy(session), torch.from_numpy(item)
        self.n_items = catalogue.n_items
        offsets = catalogue.offsets()
        starts = offsets[users[offsets[users + 1] > offsets[users]]]
        self.starts = torch.from_numpy(catalogue.item[starts].astype(np.int64))
        self.popularity = torch.bincount(self.item, minlength=catalogue.n_items).double()
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform random items."""
        return torch.randint(self.n_items, shape, generator=self.generator)

    def popular(self, *shape: int) -> Tensor:
        """Random items by how often they were chosen, to the power 3/4 (Mikolov et al. 2013)."""
        weights = self.popularity**0.75
        edges = (weights.cumsum(0) / weights.sum()).contiguous()
        drawn = torch.searchsorted(edges, torch.rand(shape, generator=self.generator, dtype=torch.float64))
        return drawn.clamp(max=self.n_items - 1)

    def negatives(self, kind: str, rows: Tensor, count: int) -> Tensor:
        """``(len(rows), count)`` items that were not chosen in these rows' places."""
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
) -> tuple[SequenceModel, dict[str, Any]]:
    """Fit logged next items against sampled negatives with binary cross-entropy on logits; early stopping; calibrate.

    The pass that ranks the held-out next items best is kept: ranking goes on improving after the loss, which punishes
    boldness, has turned. A temperature, fitted on the same part, takes the boldness back (Guo et al. 2017). What is
    measured and kept is the running mean of the weights (Polyak & Juditsky 1992).

    Args:
        users: indices of the users whose log is read.
        progress: called with the passes done and the most there can be.
        device: where to fit.

    Returns:
        The calibrated model of the best pass, on the CPU, and its quality on the held-out part (:func:`quality`).
    """
    with torch.random.fork_rng(devices=[]):  # weights and dropout draw from the global generator
        torch.manual_seed(seed)
        return _fit(catalogue, users, settings, seed, progress, device)


def _fit(
    catalogue: Catalogue,
    users: np.ndarray,
    settings: SequenceModelSettings,
    seed: int,
    progress: Callable[[int, int], None] | None,
    device: str,
) -> tuple[SequenceModel, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    data = Log(catalogue, users, settings.window, seed)
    order = torch.from_numpy(rng.permutation(len(data.item)))
    n_held = max(1, round(settings.held_out * len(order)))
    held, train = order[:n_held], order[n_held:]
    fitted = make_model(catalogue, settings).to(device)
    model = copy.deepcopy(fitted).eval()
    optimizer = torch.optim.Adam(fitted.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    held_negatives = data.negatives(settings.sampling, held, settings.negatives)
    best, best_state, best_epoch = -1.0, {}, 0
    for epoch in range(1, settings.epochs + 1):
        for rows in train[torch.randperm(len(train), generator=data.generator)].split(settings.batch):
            negatives = data.negatives(settings.sampling, rows, settings.negatives)
            loss = _loss(*_score(fitted, data, rows, negatives))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(list(model.parameters()), list(fitted.parameters()), _AVERAGE)
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
    found = {"held_out_loss": float(_loss(model.slope * logits.cpu(), counted.cpu()))}
    found |= quality(model, data, held[:MEASURED], settings.negatives)
    found["uniform_reward"] = calibrate(model, data, settings)
    log.info("sequence model: best after %d passes, held-out AUC %.3f", best_epoch, found["held_out_auc"])
    return model, {"epochs": best_epoch, "next_items": len(order), **found}


def _score(model: SequenceModel, data: Log, rows: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the next items, then of the negatives, ``(B, 1 + C)``, and which of them count.

    A drawn item that is the next item itself is no negative.
    """
    device = model.offset.device
    items = torch.cat([data.item[rows, None], negatives], 1)
    logits = model(data.session[rows].long().to(device), items.to(device))
    counted = torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), negatives != items[:, :1]], 1)
    return logits, counted.to(device)


@torch.no_grad()
def _score_held(model: SequenceModel, data: Log, rows: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    parts = [_score(model, data, r, n) for r, n in zip(rows.split(4096), negatives.split(4096), strict=True)]
    logits, counted = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(counted)


def _loss(logits: Tensor, counted: Tensor) -> Tensor:
    target = torch.zeros_like(logits)
    target[:, 0] = 1
    return nn.functional.binary_cross_entropy_with_logits(logits, target, counted.to(logits.dtype))


def _auc(true: Tensor, other: Tensor, counted: Tensor) -> float:
    wins = (true > other).double() + 0.5 * (true == other).double()
    return float(wins[counted].mean())


def _temperature(logits: Tensor, counted: Tensor) -> float:
    """The factor on the logits with the lowest loss, by golden section between 0.1 and 10 (in logarithms)."""
    low, high, ratio = -2.3, 2.3, (5**0.5 - 1) / 2
    for _ in range(30):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(np.exp(left) * logits, counted) < _loss(np.exp(right) * logits, counted):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


@torch.no_grad()
def quality(model: SequenceModel, data: Log, held: Tensor, negatives: int) -> dict[str, Any]:
    """How well held-out next items are told from others, before the calibration of the level.

    Returns:
        ``held_out_auc``: chance that the next item scores above a uniform random one; ``held_out_auc_popular``: above
        one drawn by popularity. ``held_out_hr_10``: share of next items among the ten best of all items outside the
        session. ``calibration``: ten equal groups by predicted p of next items and uniform negatives (one to
        ``negatives``), with mean prediction, observed share of next items and size; ``calibration_error``: mean
        distance of the two.
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
    chosen = torch.zeros(len(held), 1 + negatives)
    chosen[:, 0] = 1
    groups = p.argsort().tensor_split(_BINS)
    curve = [
        {"predicted": float(p[g].mean()), "observed": float(chosen.flatten()[g].mean()), "count": len(g)}
        for g in groups
    ]
    out["calibration"] = curve
    out["calibration_error"] = float(np.mean([abs(c["predicted"] - c["observed"]) for c in curve]))
    return out


def _scores(model: SequenceModel, session: Tensor, items: Tensor, table: Embedded) -> Tensor:
    parts = zip(session.split(1024), items.split(1024), strict=True)
    return torch.cat([model(s, i, table) for s, i in parts])


def _ranks(model: SequenceModel, session: Tensor, item: Tensor, table: Embedded) -> Tensor:
    """How many items outside the session score above the next one, ``(M,)``."""
    ranks = []
    for s, i in zip(session.split(256), item.split(256), strict=True):
        true = _scores(model, s, i[:, None], table)
        ranks.append((score_all(model, s, table) > true).sum(1))
    return torch.cat(ranks)


@torch.no_grad()
def calibrate(model: SequenceModel, data: Log, settings: SequenceModelSettings) -> float:
    """Set the offset so that the uniform random policy has the mean reward ``uniform_reward``; return what was reached.

    Binary cross-entropy against sampled negatives leaves the level of p to the number of negatives; the ranking is what
    is learnt. The offset is found by bisection on 4,096 uniform random items, each after a session of that policy: the
    first item of a log and up to four random ones.
    """
    n = 4096
    session = torch.full((n, model.window), model.n_items)
    later = min(_RANDOM_STEPS, model.window) - 1
    session[:, model.window - 1 - later :] = data.uniform(n, later + 1)
    shown = torch.randint(later + 1, (n,), generator=data.generator)
    rows, first = torch.arange(n), model.window - 1 - shown
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
