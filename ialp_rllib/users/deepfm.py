"""The user model of a rating world: DeepFM (Guo et al. 2017) on ids and attributes, fitted to logged ratings.

Or several of them, whose predictions are averaged: what is learnt from the model exploits its errors, and the mean of
several makes smaller ones (Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles").
"""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import DeepFMSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fields:
    """The categorical fields of a (user, item) pair, each with its own range of rows in one embedding table."""

    user: np.ndarray  # (U, F_u) int64, column 0 = the user's id
    item: np.ndarray  # (I, F_i) int64, column 0 = the item's id
    size: int

    @staticmethod
    def of(catalogue: Catalogue) -> Fields:
        start, blocks = 0, []
        for count, texts in ((catalogue.n_users, catalogue.user_texts), (catalogue.n_items, catalogue.item_texts)):
            codes, sizes = catalogue.codes(texts)
            columns = [np.arange(count)] + ([*codes.T] if sizes else [])
            offsets = start + np.cumsum([0, count, *sizes])
            blocks.append(np.stack([c + o for c, o in zip(columns, offsets, strict=False)], 1))
            start = int(offsets[-1])
        return Fields(blocks[0], blocks[1], start)


class DeepFM(nn.Module):
    r"""Factorisation machine and deep network over shared field embeddings.

    .. math:: \hat y = b + \sum_f w_f + \sum_{f<g} v_f \cdot v_g + \mathrm{DNN}([v_1, \ldots, v_F])

    Args:
        size: rows of the embedding table (all values of all fields).
        n_fields: fields of a pair.
        dim: embedding size.
        hidden: widths of the deep part.
        dropout: share of the embeddings' and the deep part's entries dropped while fitting.

    Source: Guo et al. 2017, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", Eqs. 1-4.
    """

    def __init__(self, size: int, n_fields: int, dim: int, hidden: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Embedding(size, 1)
        self.embedding = nn.Embedding(size, dim)
        self.bias = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.linear.weight)
        nn.init.normal_(self.embedding.weight, std=0.05)
        widths = [n_fields * dim, *hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), self.dropout]
        self.deep = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, fields: Tensor) -> Tensor:
        """``(B, F) int64`` rows of the embedding table -> ``(B,)`` predicted ratings."""
        v = self.dropout(self.embedding(fields))
        pairs = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(-1)
        return self.bias + self.linear(fields).sum((1, 2)) + pairs + self.deep(v.flatten(1)).squeeze(-1)


class Ensemble(nn.Module):
    """The mean of several DeepFMs of the same sizes."""

    def __init__(self, members: list[DeepFM]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, fields: Tensor) -> Tensor:
        """``(B, F) int64`` rows of the embedding table -> ``(B,)`` predicted ratings."""
        return torch.stack([member(fields) for member in self.members]).mean(0)


@torch.no_grad()
def predict_all(model: DeepFM | Ensemble, fields: Fields) -> np.ndarray:
    """``(U, I) float32``: the predicted rating of every pair."""
    items = torch.from_numpy(fields.item)
    rows = []
    for user in torch.from_numpy(fields.user):
        pairs = torch.cat([user.expand(len(items), -1), items], 1)
        rows.append(model(pairs))
    return torch.stack(rows).numpy()


def train_ratings(model: Ensemble, fields: Fields, pessimism: float) -> np.ndarray:
    """``(U, I) float32``: what the train world answers, the members' mean less ``pessimism`` times their deviation.

    Whoever learns from the mean recommends what the model overrates; where the members agree it is overrated less.

    Source: the penalised reward of Yu et al. 2020, "MOPO: Model-based Offline Policy Optimization".
    """
    each = np.stack([predict_all(member, fields) for member in model.members])  # type: ignore[arg-type]
    return np.asarray(each.mean(0) - np.float32(pessimism) * each.std(0))


_MEANS = ("epochs", "held_out_rmse", "held_out_correlation")


def fit_deepfm(
    catalogue: Catalogue, settings: DeepFMSettings, seed: int, device: str = "cpu"
) -> tuple[Ensemble, dict[str, Any]]:
    """Fit ``members`` models to the self-selected ratings (``split == 0``), each to another part of them.

    The loss is the squared error on ratings plus, for ``negatives`` unobserved pairs per rating, the squared error to 0
    (the published set-up). ``debias`` weights ratings by inverse propensity (Schnabel et al. 2016, "Recommendations as
    Treatments"), so that the model is fitted to all pairs rather than to those that users chose to rate.

    Returns:
        The models of the best epoch, on the CPU, and their quality: mean RMSE and correlation of the members on the
        ratings that each held out and, where the source has uniformly drawn ratings (``split == 1``), those of the
        ensemble on these. ``held_out_losses`` are the first member's by epoch.
    """
    fields = Fields.of(catalogue)
    members, found = [], []
    with torch.random.fork_rng(devices=[]):
        for k in range(settings.members):
            member_seed = settings.members * seed + k  # no two ensembles share a member
            model, facts = _fit_member(catalogue, fields, settings, member_seed, device)
            members.append(model)
            found.append(facts)
    ensemble = Ensemble(members).eval()
    quality: dict[str, Any] = {key: float(np.mean([facts[key] for facts in found])) for key in _MEANS}
    uniform = np.nonzero(catalogue.split == 1)[0]
    if len(uniform):
        quality |= _quality("test", ensemble, fields, catalogue, uniform)
    return ensemble, {"held_out_losses": found[0]["held_out_losses"], **quality}


def _fit_member(
    catalogue: Catalogue, fields: Fields, settings: DeepFMSettings, seed: int, device: str
) -> tuple[DeepFM, dict[str, Any]]:
    """One model, early stopping on a held-out share of the ratings. ``seed`` decides which, and all else."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    own = np.nonzero(catalogue.split == 0)[0]
    own = rng.permutation(own[np.isfinite(catalogue.rating[own])])
    n_held = max(1, round(settings.held_out * len(own)))
    held, train = own[:n_held], own[n_held:]
    torch.manual_seed(seed)
    n_fields = fields.user.shape[1] + fields.item.shape[1]
    model = DeepFM(fields.size, n_fields, settings.dim, settings.hidden, settings.dropout)
    model.bias.data.fill_(float(catalogue.rating[train].mean()))
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    user, item = (torch.from_numpy(x).long().to(device) for x in (catalogue.user, catalogue.item))
    rating = torch.from_numpy(catalogue.rating).to(device)
    user_fields, item_fields = (torch.from_numpy(x).to(device) for x in (fields.user, fields.item))
    weight = _weights(catalogue, settings).to(device)
    observed = torch.zeros(catalogue.n_users, catalogue.n_items, dtype=torch.bool, device=device)
    observed[user[own], item[own]] = True

    def pairs(u: Tensor, i: Tensor) -> Tensor:
        return torch.cat([user_fields[u], item_fields[i]], 1)

    best, best_state, waited, losses = np.inf, {}, 0, []
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = torch.from_numpy(train)[torch.randperm(len(train), generator=generator)]
        for rows in order.split(settings.batch):
            error = (model(pairs(user[rows], item[rows])) - rating[rows]).square()
            loss = (weight[rows] * error).sum() / weight[rows].sum()
            if settings.negatives:
                u = user[rows].repeat_interleave(settings.negatives)
                i = torch.randint(catalogue.n_items, u.shape, generator=generator).to(device)
                unseen = ~observed[u, i]
                wrong = model(pairs(u[unseen], i[unseen])).square()
                loss = loss + settings.negative_weight * wrong.sum() / max(1, len(wrong))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        losses.append(_rmse(model, pairs(user[held], item[held]), rating[held], weight[held]))
        if losses[-1] < best - 1e-5:
            best, waited = losses[-1], 0
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            waited += 1
            if waited >= settings.early_stopping:
                break
    model.load_state_dict(best_state)
    model.cpu()
    log.info("DeepFM: stopped after %d epochs, held-out RMSE %.3f", epoch, best)
    quality = _quality("held_out", model, fields, catalogue, held)
    return model, {"epochs": epoch, "held_out_losses": losses, **quality}


def _weights(catalogue: Catalogue, settings: DeepFMSettings) -> Tensor:
    weight = np.ones(len(catalogue.rating), np.float32)
    if settings.debias and catalogue.propensities is not None:
        weight = 1 / catalogue.propensities[catalogue.user, catalogue.item].clip(1e-3)
    return torch.from_numpy(weight.astype(np.float32))


@torch.no_grad()
def _rmse(model: DeepFM, pairs: Tensor, rating: Tensor, weight: Tensor) -> float:
    error = (model(pairs) - rating).square()
    return float(((weight * error).sum() / weight.sum()).sqrt())


@torch.no_grad()
def _quality(
    name: str, model: DeepFM | Ensemble, fields: Fields, catalogue: Catalogue, rows: np.ndarray
) -> dict[str, float]:
    pairs = np.concatenate([fields.user[catalogue.user[rows]], fields.item[catalogue.item[rows]]], 1)
    p, y = model(torch.from_numpy(pairs)).numpy(), catalogue.rating[rows]
    rmse = float(np.sqrt(np.mean((p - y) ** 2)))
    return {f"{name}_rmse": rmse, f"{name}_correlation": float(np.corrcoef(p, y)[0, 1])}


def save_deepfm(model: Ensemble, settings: DeepFMSettings, folder: Path) -> None:
    """Weights as safetensors, sizes as ``config.json``."""
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": "DeepFM", **asdict(settings)}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def load_deepfm(folder: Path, catalogue: Catalogue) -> Ensemble:
    """Read what :func:`save_deepfm` left, for the catalogue it was fitted on."""
    config = json.loads((folder / "config.json").read_text())
    fields = Fields.of(catalogue)
    n_fields = fields.user.shape[1] + fields.item.shape[1]
    sizes = (fields.size, n_fields, config["dim"], tuple(config["hidden"]))
    model = Ensemble([DeepFM(*sizes) for _ in range(config["members"])])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
