"""The user model of a sequence world: the session, read by attention, against a candidate item."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import Tokens, text_vectors, tokens_of
from ialp_rllib.settings import SequenceModelSettings


class Embedded(NamedTuple):
    """Items as the model reads them, one row each."""

    rows: Tensor  # (n, d)
    keys: Tensor  # (n, d), what attention compares with
    text: Tensor  # (n, t), of length 1, or 0 without a text


class SequenceModel(nn.Module):
    r"""Probability that the user likes item ``a`` after the session ``x_1:t``.

    .. math:: p = \sigma\left(m \left(u(a, x_{1:t}) \cdot e_a + b_a + w_1 \max_j s_{aj}
              + w_2 \frac1t \sum_j s_{aj}\right) + c\right),
              \qquad u = W_v \sum_j \mathrm{softmax}_j\!\left(\frac{W_q e_a \cdot W_k x_j}{\sqrt d} + w_3 s_{aj}
              + \rho_{t-j}\right) x_j

    An item is the sum of an embedding of its id and of the tokens of its texts, so that rare items borrow from those
    that are described alike. :math:`s_{aj}` is the cosine of two items' texts (fixed vectors, not learnt): half of a
    catalogue is chosen too seldom to learn from. :math:`\rho` weighs the session's positions by their age. ``m`` and
    ``c`` calibrate p (:mod:`ialp_rllib.users.sequence_fit`).

    Args:
        tokens: of the items' texts.
        n_items: size of the catalogue, I.
        dim: embedding size, d.
        window: items of the session that are read, the latest.
        dropout: share of the embeddings' entries that are dropped while fitting.

    Source: user response model of HAC (Liu et al. 2023, "Exploration and Regularization of the Latent Action Space in
    Recommendation"), candidate as query.
    """

    def __init__(self, tokens: Tokens, n_items: int, dim: int, window: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_items, self.window = n_items, window
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        nn.init.normal_(self.item.weight, std=0.01)  # small: what the texts say comes first
        self.item.weight.data[-1] = 0
        self.token = nn.Embedding(tokens.size + 1, dim, padding_idx=tokens.size) if tokens.size else None
        if self.token is not None:
            nn.init.normal_(self.token.weight, std=0.1)
            self.token.weight.data[-1] = 0
            none = np.full((1, tokens.codes.shape[1]), tokens.size)
            scale = np.append(tokens.scale, np.float32(0))[:, None]
            self.register_buffer("codes", torch.from_numpy(np.concatenate([tokens.codes, none])), persistent=False)
            self.register_buffer("scale", torch.from_numpy(scale), persistent=False)
        self.codes: Tensor
        self.scale: Tensor
        vectors = text_vectors(tokens)
        vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        self.register_buffer("text", torch.from_numpy(vectors))
        self.text: Tensor
        self.query, self.key, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.age = nn.Parameter(torch.zeros(window))
        self.alike = nn.Parameter(torch.zeros(3))  # w_1, w_2, w_3
        self.item_bias = nn.Embedding(n_items + 1, 1)
        nn.init.zeros_(self.item_bias.weight)
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        self.slope: Tensor
        self.offset: Tensor

    def embed(self, items: Tensor) -> Embedded:
        """What the model knows of the items ``(n,)``; zeros for "no item"."""
        rows = self.item(items)
        if self.token is not None:
            bags = nn.functional.embedding_bag(
                self.codes[items], self.token.weight, mode="sum", padding_idx=self.token.padding_idx
            )
            rows = rows + bags * self.scale[items]
        rows = self.dropout(rows)
        return Embedded(rows, self.key(rows) / rows.shape[1] ** 0.5, self.text[items])

    def table(self) -> Embedded:
        """All items and, last, "no item": what :meth:`forward` takes where the weights are fixed."""
        return self.embed(torch.arange(self.n_items + 1, device=self.offset.device))

    def forward(self, session: Tensor, items: Tensor, table: Embedded | None = None) -> Tensor:
        """Logits.

        Args:
            session: ``(B, L) int64``, the latest item last, ``n_items`` where there is none.
            items: ``(B, C) int64`` candidates, or ``(1, C)``, the same for all (with a table only).
            table: :meth:`table`, where it is at hand already.

        Returns:
            ``(B, C)``.
        """
        session = session[:, -self.window :]
        width, x, a = session.shape[1], session, items
        if table is None:
            distinct, place = torch.cat([session, items], 1).unique(return_inverse=True)
            table, x, a = self.embed(distinct), place[:, :width], place[:, width:]
        e = table.rows[a]
        none = (session == self.n_items)[:, None]
        scores = self.query(e) @ table.keys[x].transpose(1, 2) + self.age[-width:]
        logits = self.item_bias(items).squeeze(-1)
        if self.text.shape[1]:
            alike = table.text[a] @ table.text[x].transpose(1, 2)
            scores = scores + self.alike[2] * alike
            mean = alike.sum(-1) / (~none).sum(-1).clamp(min=1)  # "no item" is like nothing: 0
            logits = logits + self.alike[0] * alike.masked_fill(none, -1).amax(-1) + self.alike[1] * mean
        user = self.out(torch.softmax(scores.masked_fill(none, -1e9), -1) @ table.rows[x])
        return self.slope * (logits + (user * e).sum(-1)) + self.offset


@torch.no_grad()
def score_all(model: SequenceModel, session: Tensor, table: Embedded) -> Tensor:
    """Logits of the whole catalogue, ``(B, I)``, minus infinity for what the session ``(B, L) int64`` holds already."""
    everything = torch.arange(model.n_items, device=session.device)[None]
    rows = max(1, 250_000 // model.n_items)  # bounds the (rows, I, L) and (rows, I, d) tensors on the way
    logits = torch.cat([model(part, everything, table) for part in session.split(rows)])
    none = logits.new_full((len(logits), 1), -torch.inf)
    return torch.cat([logits, none], 1).scatter_(1, session, -torch.inf)[:, :-1]


def make_model(catalogue: Catalogue, settings: SequenceModelSettings) -> SequenceModel:
    """An untrained model for the items of a catalogue."""
    tokens = tokens_of(catalogue.item_texts)
    return SequenceModel(tokens, catalogue.n_items, settings.dim, settings.window, settings.dropout)


def sessions_of(catalogue: Catalogue, users: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Every logged next item of these users with what came before it.

    Returns:
        session ``(M, window) int32`` right-aligned, item ``(M,) int64``.
    """
    offsets = catalogue.offsets()
    chosen = np.zeros(catalogue.n_users, bool)
    chosen[users] = True
    rows = np.arange(len(catalogue.user))
    rows = rows[chosen[catalogue.user] & (rows > offsets[catalogue.user])]
    first = offsets[catalogue.user[rows]]
    session = np.empty((len(rows), window), np.int32)
    for column in range(window):  # a column at a time: no (M, window) array of int64 on the way
        back = rows - (window - column)
        session[:, column] = np.where(back >= first, catalogue.item[np.maximum(back, 0)], catalogue.pad)
    return session, catalogue.item[rows].astype(np.int64)


def save_sequence(model: SequenceModel, settings: SequenceModelSettings, folder: Path) -> None:
    """Weights as safetensors, sizes as ``config.json``."""
    save_file({name: value.cpu() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": "SequenceModel", "n_items": model.n_items, **asdict(settings)}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def load_sequence(folder: Path, catalogue: Catalogue) -> SequenceModel:
    """Read what :func:`save_sequence` left, for the catalogue it was fitted on."""
    config = json.loads((folder / "config.json").read_text())
    known = {field.name: config[field.name] for field in fields(SequenceModelSettings)}
    model = make_model(catalogue, SequenceModelSettings(**known))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
