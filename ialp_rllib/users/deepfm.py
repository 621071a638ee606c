"""User model of rating worlds: DeepFM (Guo et al. 2017) on ids and attributes, fitted to logged ratings.

Or an ensemble of several, with averaged predictions (Lakshminarayanan et al. 2017, "Simple and Scalable Predictive
Uncertainty Estimation using Deep Ensembles"): policies exploit the errors of a reward model, and those of the mean are
smaller.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import DeepFMSettings
from ialp_rllib.users.model_files import load_config, load_weights, save_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fields:
    """Categorical fields of users and items, as rows of one embedding table with a separate range per field.

    Attributes:
        user: ``(U, F_u) int64``; column 0 is the user id.
        item: ``(I, F_i) int64``; column 0 is the item id.
        size: rows of the embedding table.
    """

    user: np.ndarray
    item: np.ndarray
    size: int

    @staticmethod
    def of(catalogue: Catalogue) -> Fields:
        """The fields of a catalogue: ids and attributes."""
        start, blocks = 0, []
        for count, texts in ((catalogue.n_users, catalogue.user_texts), (catalogue.n_items, catalogue.item_texts)):
            codes, sizes = catalogue.codes(texts)
            columns = [np.arange(count)] + ([*codes.T] if sizes else [])
            offsets = start + np.cumsum([0, count, *sizes])
            blocks.append(np.stack([c + o for c, o in zip(columns, offsets, strict=False)], 1))
            start = int(offsets[-1])
        return Fields(blocks[0], blocks[1], start)


class DeepFM(nn.Module):
    r"""Factorisation machine and MLP with shared field embeddings.

    .. math:: \hat y = b + \sum_f w_f + \sum_{f<g} v_f \cdot v_g + \mathrm{DNN}([v_1, \ldots, v_F])

    Args:
        size: rows of the embedding table (number of values of all fields).
        n_fields: number of fields of a (user, item) pair, F.
        dim: embedding size.
        hidden: layer widths of the MLP.
        dropout: dropout rate of embeddings and hidden layers during training.

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
    """Mean prediction of several DeepFMs of the same sizes."""

    def __init__(self, members: list[DeepFM]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, fields: Tensor) -> Tensor:
        """``(B, F) int64`` rows of the embedding table -> ``(B,)`` predicted ratings."""
        return torch.stack([member(fields) for member in self.members]).mean(0)


@torch.no_grad()
def predict_all(model: DeepFM | Ensemble, fields: Fields) -> np.ndarray:
    """Predicted ratings of all pairs, ``(U, I) float32``."""
    items = torch.from_numpy(fields.item)
    rows = []
    for user in torch.from_numpy(fields.user):
        pairs = torch.cat([user.expand(len(items), -1), items], 1)
        rows.append(model(pairs))
    return torch.stack(rows).numpy()


def pessimistic_ratings(model: Ensemble, fields: Fields, pessimism: float) -> np.ndarray:
    r"""Pessimistic predictions of all pairs, ``(U, I) float32``: the rewards of the train world.

    .. math:: r_{ui} = \operatorname{mean}_m \hat y^m_{ui} - \mathrm{pessimism} \cdot \operatorname{std}_m \hat y^m_{ui}

    Policies exploit items that the model overestimates; members tend to disagree on these.

    Source: the penalised reward of Yu et al. 2020, "MOPO: Model-based Offline Policy Optimization".
    """
    predictions = np.stack([predict_all(member, fields) for member in model.members])  # type: ignore[arg-type]
    return np.asarray(predictions.mean(0) - np.float32(pessimism) * predictions.std(0))


_AVERAGED = ("epochs", "held_out_rmse", "held_out_correlation")


def fit_deepfm(
    catalogue: Catalogue, settings: DeepFMSettings, seed: int, device: str = "cpu"
) -> tuple[Ensemble, dict[str, Any]]:
    r"""Fit an ensemble to the self-selected ratings (``split`` 0) of the train users.

    Each member has another seed and another held-out part. Ratings of other users have no part in it.

    .. math:: L = \frac{\sum_{(u, i) \in B} w_{ui} (\hat y_{ui} - y_{ui})^2}{\sum_{(u, i) \in B} w_{ui}}
              + \lambda \operatorname{mean}_{(u, j) \in N} \hat y_{uj}^2

    B is a batch of ratings, N the ``negatives`` sampled pairs per rating that are unobserved, as in the published code,
    and :math:`\lambda` the ``negative_weight``. With ``debias``, w is the inverse propensity (Schnabel et al. 2016,
    "Recommendations as Treatments"), which makes the loss unbiased over all pairs; otherwise it is 1.

    Args:
        seed: the seeds of the members are ``members * seed`` and the following.
        device: device of the training.

    Returns:
        The ensemble, each member with the weights of its best epoch, on the CPU; and its quality: mean over the members
        of ``epochs``, ``held_out_rmse`` and ``held_out_correlation``; ``held_out_losses`` of the first member by epoch;
        if the data have uniformly drawn ratings of train users (``split`` 1), ``test_rmse`` and ``test_correlation`` of
        the ensemble on them.
    """
    fields = Fields.of(catalogue)
    members, qualities = [], []
    with torch.random.fork_rng(devices=[]):
        for k in range(settings.members):
            member_seed = settings.members * seed + k  # ensembles of different seeds share no member
            model, facts = _fit_member(catalogue, fields, settings, member_seed, device)
            members.append(model)
            qualities.append(facts)
    ensemble = Ensemble(members).eval()
    quality: dict[str, Any] = {key: float(np.mean([facts[key] for facts in qualities])) for key in _AVERAGED}
    uniform = np.nonzero((catalogue.split == 1) & np.isin(catalogue.user, catalogue.train_users))[0]
    if len(uniform):
        quality |= _quality("test", ensemble, fields, catalogue, uniform)
    return ensemble, {"held_out_losses": qualities[0]["held_out_losses"], **quality}


def _fit_member(
    catalogue: Catalogue, fields: Fields, settings: DeepFMSettings, seed: int, device: str
) -> tuple[DeepFM, dict[str, Any]]:
    """Fit one model with early stopping on held-out ratings; ``seed`` determines these and all other random draws."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    known = (catalogue.split == 0) & np.isin(catalogue.user, catalogue.train_users) & np.isfinite(catalogue.rating)
    rated = rng.permutation(np.nonzero(known)[0])
    n_held = max(1, round(settings.held_out * len(rated)))
    held, train = rated[:n_held], rated[n_held:]
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
    observed[user[rated], item[rated]] = True

    def pairs(u: Tensor, i: Tensor) -> Tensor:
        return torch.cat([user_fields[u], item_fields[i]], 1)

    best, best_state, stale, losses = np.inf, {}, 0, []
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = torch.from_numpy(train)[torch.randperm(len(train), generator=generator)]
        for rows in order.split(settings.batch):
            error = (model(pairs(user[rows], item[rows])) - rating[rows]).square()
            loss = (weight[rows] * error).sum() / weight[rows].sum()
            if settings.negatives:
                u = user[rows].repeat_interleave(settings.negatives)
                i = torch.randint(catalogue.n_items, u.shape, generator=generator).to(device)
                unobserved = ~observed[u, i]
                negative = model(pairs(u[unobserved], i[unobserved])).square()
                loss = loss + settings.negative_weight * negative.sum() / max(1, len(negative))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        losses.append(_rmse(model, pairs(user[held], item[held]), rating[held], weight[held]))
        if losses[-1] < best - 1e-5:
            best, stale = losses[-1], 0
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            stale += 1
            if stale >= settings.early_stopping:
                break
    model.load_state_dict(best_state)
    model.cpu()
    _average_unknown(model, catalogue, rated)
    logger.info("DeepFM: stopped after %d epochs, held-out RMSE %.3f", epoch, best)
    quality = _quality("held_out", model, fields, catalogue, held)
    return model, {"epochs": epoch, "held_out_losses": losses, **quality}


def _average_unknown(model: DeepFM, catalogue: Catalogue, rated: np.ndarray) -> None:
    """Give users without a rating in the fit the mean id embedding of the others, which is not random, in place."""
    known = np.zeros(catalogue.n_users, bool)
    known[catalogue.user[rated]] = True
    for table in (model.linear.weight.data, model.embedding.weight.data):
        users = table[: catalogue.n_users]  # column 0 of the fields
        users[torch.from_numpy(~known)] = users[torch.from_numpy(known)].mean(0)


def _weights(catalogue: Catalogue, settings: DeepFMSettings) -> Tensor:
    """Weight of each interaction in the loss, ``(M,) float32``."""
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
    """Save an ensemble in the format of :mod:`ialp_rllib.users.model_files`."""
    save_model(model, {"architecture": "DeepFM", **asdict(settings)}, folder)


def load_deepfm(folder: Path, catalogue: Catalogue) -> Ensemble:
    """Load an ensemble that :func:`save_deepfm` saved; ``catalogue`` is the one it was fitted on."""
    config = load_config(folder)
    fields = Fields.of(catalogue)
    n_fields = fields.user.shape[1] + fields.item.shape[1]
    sizes = (fields.size, n_fields, config["dim"], tuple(config["hidden"]))
    model = Ensemble([DeepFM(*sizes) for _ in range(config["members"])])
    load_weights(model, folder)
    return model
