"""The user model of a sequence world: the session, read by attention, against a candidate item."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import SequenceModelSettings

log = logging.getLogger(__name__)


class SequenceModel(nn.Module):
    r"""Probability that the user likes item ``a`` after the session ``x_1:t``.

    .. math:: p = \sigma\left(u(a, x_{1:t}) \cdot e_a + b_a + c\right), \qquad
              u = \sum_j \mathrm{softmax}_j\!\left(\frac{W_q e_a \cdot W_k x_j}{\sqrt d}\right) W_v x_j

    An item is the sum of an embedding of its id and of its attribute values, so that rare items borrow from their
    attributes. ``c`` is the calibration offset (:func:`calibrate`).

    Args:
        codes: ``(I, F) int64`` attribute codes of the items.
        sizes: number of values of each attribute.
        dim: embedding size.
        window: items of the session that are read, the latest.

    Source: user response model of HAC (Liu et al. 2023, "Exploration and Regularization of the Latent Action Space in
    Recommendation"), candidate as query.
    """

    def __init__(self, codes: np.ndarray, sizes: list[int], dim: int, window: int) -> None:
        super().__init__()
        n_items = len(codes)
        self.n_items, self.window = n_items, window
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.value = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        for embedding in (self.item, *self.value):
            nn.init.normal_(embedding.weight, std=0.1)
        self.item.weight.data[n_items] = 0
        self.query, self.key, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.item_bias = nn.Embedding(n_items + 1, 1)
        nn.init.zeros_(self.item_bias.weight)
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)
        self.codes: Tensor
        self.offset: Tensor

    def table(self) -> Tensor:
        """``(I + 1, d)``: the embedding of every item, zero for "no item"."""
        rows = self.item.weight
        if len(self.value):
            values = torch.stack([v(self.codes[:, f]) for f, v in enumerate(self.value)]).sum(0)
            rows = rows + torch.cat([values, values.new_zeros(1, values.shape[1])])
        return rows

    def forward(self, session: Tensor, items: Tensor, table: Tensor | None = None) -> Tensor:
        """Logits.

        Args:
            session: ``(B, L) int64``, the latest item last, ``n_items`` where there is none.
            items: ``(B, C) int64`` candidates.
            table: :meth:`table`, where it is at hand already.

        Returns:
            ``(B, C)``.
        """
        table = self.table() if table is None else table
        session = session[:, -self.window :]
        x, e = table[session], table[items]
        scores = self.query(e) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
        scores = scores.masked_fill((session == self.n_items)[:, None], -1e9)
        user = self.out(torch.softmax(scores, -1) @ x)
        return (user * e).sum(-1) + self.item_bias(items).squeeze(-1) + self.offset


def sessions_of(catalogue: Catalogue, users: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every logged next item of these users with what came before it.

    Returns:
        session ``(M, window) int64`` right-aligned, item ``(M,) int64``, user ``(M,) int64``.
    """
    offsets = catalogue.offsets()
    rows = np.concatenate([np.arange(offsets[u] + 1, offsets[u + 1]) for u in users]).astype(np.int64)
    back = rows[:, None] - np.arange(window, 0, -1)[None]
    first = offsets[catalogue.user[rows]]
    session = np.where(back >= first[:, None], catalogue.item[np.maximum(back, 0)], catalogue.pad)
    return session.astype(np.int64), catalogue.item[rows].astype(np.int64), catalogue.user[rows].astype(np.int64)


def fit_sequence(
    catalogue: Catalogue, users: np.ndarray, settings: SequenceModelSettings, seed: int
) -> tuple[SequenceModel, dict[str, float | int]]:
    """Fit logged next items against uniform negatives with binary cross-entropy on logits; early stopping; calibrate.

    Args:
        users: indices of the users whose log is read.

    Returns:
        The calibrated model of the best epoch, and its quality on the held-out part: loss, AUC against uniform
        negatives, and the mean reward of a uniform random item after calibration.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    session, item, _ = (torch.from_numpy(x) for x in sessions_of(catalogue, users, settings.window))
    order = torch.from_numpy(rng.permutation(len(item)))
    n_held = max(1, round(settings.held_out * len(item)))
    held, train = order[:n_held], order[n_held:]
    codes, sizes = catalogue.codes(catalogue.item_texts)
    if not sizes:
        codes = np.zeros((catalogue.n_items, 0), np.int64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(codes, sizes, settings.dim, settings.window)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def with_negatives(rows: Tensor, count: int) -> Tensor:
        drawn = torch.randint(catalogue.n_items, (len(rows), count), generator=generator)
        return torch.cat([item[rows, None], drawn], 1)

    def loss_of(logits: Tensor) -> Tensor:
        target = torch.zeros_like(logits)
        target[:, 0] = 1
        return nn.functional.binary_cross_entropy_with_logits(logits, target)

    held_items = with_negatives(held, settings.negatives)
    best, best_state, waited = np.inf, {}, 0
    for epoch in range(1, settings.epochs + 1):
        for rows in train[torch.randperm(len(train), generator=generator)].split(settings.batch):
            loss = loss_of(model(session[rows], with_negatives(rows, settings.negatives)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            logits = model(session[held], held_items)
            held_loss = float(loss_of(logits))
        if held_loss < best - 1e-4:
            best, waited = held_loss, 0
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            waited += 1
            if waited >= settings.early_stopping:
                break
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        logits = model(session[held], held_items)
    auc = float((logits[:, :1] > logits[:, 1:]).float().mean() + 0.5 * (logits[:, :1] == logits[:, 1:]).float().mean())
    uniform = calibrate(model, session, settings, generator)
    log.info("sequence model: stopped after %d epochs, held-out AUC %.3f", epoch, auc)
    return model, {"epochs": epoch, "held_out_loss": best, "held_out_auc": auc, "uniform_reward": uniform}


@torch.no_grad()
def calibrate(
    model: SequenceModel, session: Tensor, settings: SequenceModelSettings, generator: torch.Generator
) -> float:
    """Set the offset so that a uniform random item has the mean reward ``uniform_reward``; return what was reached.

    Binary cross-entropy against sampled negatives leaves the level of p to the number of negatives; the ranking is what
    is learnt. The offset is found by bisection on 4,096 random (session, item) pairs.
    """
    rows = torch.randint(len(session), (4096,), generator=generator)
    items = torch.randint(model.n_items, (4096, 1), generator=generator)
    model.offset.zero_()
    logits = model(session[rows], items)
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(settings.reward_scale * torch.sigmoid(logits + middle).mean())
        low, high = (middle, high) if mean < settings.uniform_reward else (low, middle)
    model.offset.fill_(middle)
    return mean


def save_sequence(model: SequenceModel, settings: SequenceModelSettings, folder: Path) -> None:
    """Weights as safetensors, sizes as ``config.json``."""
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": "SequenceModel", **asdict(settings)}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def load_sequence(folder: Path, catalogue: Catalogue) -> SequenceModel:
    """Read what :func:`save_sequence` left, for the catalogue it was fitted on."""
    config = json.loads((folder / "config.json").read_text())
    codes, sizes = catalogue.codes(catalogue.item_texts)
    if not sizes:
        codes = np.zeros((catalogue.n_items, 0), np.int64)
    model = SequenceModel(codes, sizes, config["dim"], config["window"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
