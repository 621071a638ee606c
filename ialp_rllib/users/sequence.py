"""User model of sequence worlds: attention over the session, with the candidate item as query."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import Tokens, text_vectors, tokens_of
from ialp_rllib.errors import InputError
from ialp_rllib.settings import SequenceModelSettings
from ialp_rllib.users.model_files import CONFIG, load_config, load_weights, save_model


class ItemEmbeddings(NamedTuple):
    """Representations of n items.

    Attributes:
        rows: ``(n, d)``, embeddings.
        keys: ``(n, d)``, attention keys, scaled by ``1 / sqrt(d)``.
        text: ``(n, t)``, text vectors of norm 1, or 0 without tokens.
    """

    rows: Tensor
    keys: Tensor
    text: Tensor


class SequenceModel(nn.Module):
    r"""Probability p that the user likes item a after the session :math:`x_{1:t}`.

    .. math:: p = \sigma\left(m \left(u(a, x_{1:t}) \cdot e_a + b_a + w_1 \max_j s_{aj}
              + w_2 \frac1t \sum_j s_{aj}\right) + c\right),
              \qquad u = W_v \sum_j \mathrm{softmax}_j\!\left(\frac{W_q e_a \cdot W_k x_j}{\sqrt d} + w_3 s_{aj}
              + \rho_{t-j}\right) x_j

    The embedding e of an item is the sum of an id embedding and the embeddings of its text tokens, so that the model
    generalises from frequent items to rare ones with similar texts. :math:`s_{aj}` is the cosine similarity of the
    fixed text vectors of a and :math:`x_j` (:func:`ialp_rllib.catalogue.features.text_vectors`), which helps with items
    that are too rare to learn from. :math:`\rho` is a bias by the age of a position. m and c calibrate p
    (:mod:`ialp_rllib.users.sequence_fit`).

    Args:
        tokens: tokens of the items' texts.
        n_items: size of the catalogue, I.
        dim: embedding size, d.
        window: number of most recent items of the session that the model attends to.
        dropout: dropout rate of the item embeddings during training.

    Source: user response model of HAC (Liu et al. 2023, "Exploration and Regularization of the Latent Action Space in
    Recommendation"), candidate as query.
    """

    def __init__(self, tokens: Tokens, n_items: int, dim: int, window: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_items, self.window = n_items, window
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        nn.init.normal_(self.item.weight, std=0.01)  # small, so that the tokens dominate at first
        self.item.weight.data[-1] = 0
        self.token = nn.Embedding(tokens.size + 1, dim, padding_idx=tokens.size) if tokens.size else None
        if self.token is not None:
            nn.init.normal_(self.token.weight, std=0.1)
            self.token.weight.data[-1] = 0
            padding = np.full((1, tokens.codes.shape[1]), tokens.size)
            scale = np.append(tokens.scale, np.float32(0))[:, None]
            self.register_buffer("codes", torch.from_numpy(np.concatenate([tokens.codes, padding])), persistent=False)
            self.register_buffer("scale", torch.from_numpy(scale), persistent=False)
        self.codes: Tensor
        self.scale: Tensor
        vectors = text_vectors(tokens)
        vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        self.register_buffer("text", torch.from_numpy(vectors))
        self.text: Tensor
        self.make_encoder(dim)
        self.dropout = nn.Dropout(dropout)
        self.alike = nn.Parameter(torch.zeros(3))  # w_1, w_2, w_3
        self.item_bias = nn.Embedding(n_items + 1, 1)
        nn.init.zeros_(self.item_bias.weight)
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        self.slope: Tensor
        self.offset: Tensor

    def make_encoder(self, dim: int) -> None:
        """Add the layers of :meth:`encode`."""
        self.query, self.key, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.age = nn.Parameter(torch.zeros(self.window))

    def keys(self, rows: Tensor) -> Tensor:
        """What :meth:`encode` reads of the items of the session, ``(n, d)``, from their embeddings ``(n, d)``."""
        return self.key(rows) / rows.shape[1] ** 0.5

    def embed(self, items: Tensor) -> ItemEmbeddings:
        """Representations of items ``(n,) int64``; zeros for padding."""
        rows = self.item(items)
        if self.token is not None:
            bags = nn.functional.embedding_bag(
                self.codes[items], self.token.weight, mode="sum", padding_idx=self.token.padding_idx
            )
            rows = rows + bags * self.scale[items]
        rows = self.dropout(rows)
        return ItemEmbeddings(rows, self.keys(rows), self.text[items])

    def table(self) -> ItemEmbeddings:
        """Representations of all items and of padding, ``I + 1`` rows, to pass to :meth:`forward`."""
        return self.embed(torch.arange(self.n_items + 1, device=self.offset.device))

    def forward(self, session: Tensor, items: Tensor, table: ItemEmbeddings | None = None) -> Tensor:
        """Logits of p, ``(B, C)``.

        Args:
            session: ``(B, L) int64``, the most recent item last, padded with ``n_items``.
            items: ``(B, C) int64``, candidates; with a table also ``(1, C)``, the same for all sessions.
            table: result of :meth:`table`, if the weights have not changed since; None: computed as needed.
        """
        session = session[:, -self.window :]
        width, x, a = session.shape[1], session, items
        if table is None:
            distinct, inverse = torch.cat([session, items], 1).unique(return_inverse=True)
            table, x, a = self.embed(distinct), inverse[:, :width], inverse[:, width:]
        e = table.rows[a]
        padding = (session == self.n_items)[:, None]
        logits, cosine = self.item_bias(items).squeeze(-1), None
        if self.text.shape[1]:
            cosine = table.text[a] @ table.text[x].transpose(1, 2)
            mean = cosine.sum(-1) / (~padding).sum(-1).clamp(min=1)  # the cosine with padding is 0
            logits = logits + self.alike[0] * cosine.masked_fill(padding, -1).amax(-1) + self.alike[1] * mean
        user = self.encode(e, table.rows[x], table.keys[x], padding, cosine)
        return self.slope * (logits + (user * e).sum(-1)) + self.offset

    def encode(self, e: Tensor, rows: Tensor, keys: Tensor, padding: Tensor, cosine: Tensor | None) -> Tensor:
        """The user as the candidates see them, u: ``(B, C, d)``, or ``(B, 1, d)`` where it is the same for all.

        Args:
            e: ``(B or 1, C, d)``, embeddings of the candidates.
            rows: ``(B, L, d)``, embeddings of the session's items.
            keys: ``(B, L, d)``, their :meth:`keys`.
            padding: ``(B, 1, L) bool``, positions without an item.
            cosine: ``(B, C, L)``, similarity of the texts of candidates and items; None without texts.
        """
        scores = self.query(e) @ keys.transpose(1, 2) + self.age[-rows.shape[1] :]
        if cosine is not None:
            scores = scores + self.alike[2] * cosine
        user: Tensor = self.out(torch.softmax(scores.masked_fill(padding, -1e9), -1) @ rows)
        return user


class GRUModel(SequenceModel):
    r"""The same with a recurrent network in the place of the attention: another family of user models.

    .. math:: u(x_{1:t}) = W_v \, \mathrm{GRU}(x_1, \ldots, x_t)

    The user vector does not depend on the candidate.

    Source: Hidasi et al. 2016, "Session-based Recommendations with Recurrent Neural Networks".
    """

    def make_encoder(self, dim: int) -> None:
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, dim, bias=False)

    def keys(self, rows: Tensor) -> Tensor:
        """The rows themselves: nothing more is read of them."""
        return rows

    def encode(self, e: Tensor, rows: Tensor, keys: Tensor, padding: Tensor, cosine: Tensor | None) -> Tensor:
        width, length = rows.shape[1], (~padding[:, 0]).sum(1)
        place = (torch.arange(width, device=rows.device) + width - length[:, None]) % width  # padding to the end
        states, _ = self.gru(rows.gather(1, place[..., None].expand_as(rows)))
        last = states[torch.arange(len(states), device=rows.device), (length - 1).clamp(min=0)]
        user: Tensor = self.out(last * (length > 0)[:, None])[:, None]
        return user


FAMILIES = {"attention": SequenceModel, "gru": GRUModel}
"""User models by the name that ``users.test_model`` has for them."""


@torch.no_grad()
def score_all(model: SequenceModel, session: Tensor, table: ItemEmbeddings) -> Tensor:
    """Logits of all items, ``(B, I)``; minus infinity for the items of the session ``(B, L) int64``."""
    items = torch.arange(model.n_items, device=session.device)[None]
    rows = max(1, 250_000 // model.n_items)  # bounds the intermediate (rows, I, L) and (rows, I, d) tensors
    logits = torch.cat([model(part, items, table) for part in session.split(rows)])
    padding = logits.new_full((len(logits), 1), -torch.inf)
    return torch.cat([logits, padding], 1).scatter_(1, session, -torch.inf)[:, :-1]


def make_model(catalogue: Catalogue, settings: SequenceModelSettings, family: str = "attention") -> SequenceModel:
    """An untrained model of the items of a catalogue, of one of the :data:`FAMILIES`."""
    tokens = tokens_of(catalogue.item_texts)
    return FAMILIES[family](tokens, catalogue.n_items, settings.dim, settings.window, settings.dropout)


def sessions_of(catalogue: Catalogue, users: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Next items in the logs of some users, with the sessions before them; first items have no session.

    Args:
        users: ``(n,) int``, users.
        window: number of items of the session, L.

    Returns:
        session ``(M, L) int32``, the most recent item last, padded with ``n_items``; next item ``(M,) int64``.
    """
    offsets = catalogue.offsets()
    chosen = np.zeros(catalogue.n_users, bool)
    chosen[users] = True
    rows = np.arange(len(catalogue.user))
    rows = rows[chosen[catalogue.user] & (rows > offsets[catalogue.user])]
    first = offsets[catalogue.user[rows]]
    session = np.empty((len(rows), window), np.int32)
    for column in range(window):  # by column, to avoid an int64 array of shape (M, window)
        back = rows - (window - column)
        session[:, column] = np.where(back >= first, catalogue.item[np.maximum(back, 0)], catalogue.pad)
    return session, catalogue.item[rows].astype(np.int64)


def save_sequence(model: SequenceModel, settings: SequenceModelSettings, folder: Path) -> None:
    """Save a model in the format of :mod:`ialp_rllib.users.model_files`."""
    save_model(model, {"architecture": type(model).__name__, "n_items": model.n_items, **asdict(settings)}, folder)


def load_sequence(folder: Path, catalogue: Catalogue) -> SequenceModel:
    """Load a model that :func:`save_sequence` saved; ``catalogue`` is the one it was fitted on.

    Raises:
        InputError: a file is missing, damaged, or of something else.
    """
    config = load_config(folder)
    settings = SequenceModelSettings(**{field.name: config[field.name] for field in fields(SequenceModelSettings)})
    family = next((name for name, kind in FAMILIES.items() if kind.__name__ == config["architecture"]), None)
    if family is None:
        expected = " or ".join(kind.__name__ for kind in FAMILIES.values())
        raise InputError(str(folder / CONFIG), f"names the architecture {config['architecture']!r}", expected)
    model = make_model(catalogue, settings, family)
    load_weights(model, folder)
    return model
