"""Item embeddings: one per id, plus what an item's attributes and their words say."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue.features import Tokens


class Items(nn.Module):
    """Item embeddings: one per id, plus, where attributes are known, the scaled sum of those of their tokens.

    With the attributes an item that was hardly seen borrows from the items it resembles.

    Args:
        n_items: size of the catalogue, I.
        dim: size of an embedding, d.
        tokens: the items' attribute values and words (:func:`ialp_rllib.catalogue.features.tokens_of`), or None.
    """

    def __init__(self, n_items: int, dim: int, tokens: Tokens | None = None) -> None:
        super().__init__()
        self.id = nn.Embedding(n_items + 1, dim)
        nn.init.normal_(self.id.weight, std=0.1)
        self.values: nn.Embedding | None = None
        if tokens is not None and tokens.size:
            self.values = nn.Embedding(tokens.size, dim)
            nn.init.normal_(self.values.weight, std=0.1)
            row, place = np.nonzero(tokens.codes < tokens.size)
            token = tokens.codes[row, place]
            order = np.argsort(token, kind="stable")
            # "No item" has no token: an empty bag at the end.
            self._keep("token", token, "token_offset", np.searchsorted(row, np.arange(n_items + 1)))
            self._keep("row", row[order], "row_offset", np.searchsorted(token[order], np.arange(tokens.size)))
            scale = torch.from_numpy(np.append(tokens.scale, np.float32(1)))
            self.register_buffer("scale", scale[:, None], persistent=False)
            self.scale: Tensor

    def _keep(self, name: str, index: np.ndarray, offset_name: str, offset: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(index), persistent=False)
        self.register_buffer(offset_name, torch.from_numpy(offset), persistent=False)

    def forward(self) -> Tensor:
        """``(I + 1, d)``: every item's embedding; the last row stands for "no item"."""
        if self.values is None:
            return self.id.weight
        there, back = (self.token, self.token_offset), (self.row, self.row_offset)
        return torch.addcmul(self.id.weight, _BagSums.apply(self.values.weight, there, back), self.scale)


class _BagSums(torch.autograd.Function):
    """Sums of rows of a table by bags. The gradient is the same operation the other way round.

    Torch's own gradient of ``embedding_bag`` scatters row by row: over all items of a catalogue at once it takes
    twenty times as long as the sums themselves.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, there: tuple[Tensor, Tensor], back: tuple[Tensor, Tensor]) -> Tensor:
        ctx.back = back
        return nn.functional.embedding_bag(there[0], table, there[1], mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, offset = ctx.back
        return nn.functional.embedding_bag(index, gradient.contiguous(), offset, mode="sum"), None, None
