"""Item embeddings from ids and attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ialp_rllib.catalogue.features import Tokens


class Items(nn.Module):
    r"""Item embeddings: one vector per id, plus the scaled sum of the embeddings of the item's attribute tokens.

    .. math:: e_i = u_i + c_i \sum_{t \in T_i} w_t

    with id embeddings :math:`u`, tokens :math:`T_i` of item i, token embeddings :math:`w`, and the scale :math:`c_i`
    of :class:`ialp_rllib.catalogue.features.Tokens`. Shared tokens let rare items generalise from similar items. Given
    text vectors v instead, it is :math:`e_i = u_i + W v_i`: v is frozen, W is learned.

    Args:
        n_items: number of items in the catalogue, I.
        dim: size of an embedding, d.
        tokens: attribute values and words of the items (:func:`ialp_rllib.catalogue.features.tokens_of`), or None for
            id embeddings alone.
        vectors: ``(I, D) float32`` text vectors in the place of the tokens, or None.
    """

    def __init__(
        self, n_items: int, dim: int, tokens: Tokens | None = None, vectors: npt.NDArray[np.float32] | None = None
    ) -> None:
        super().__init__()
        self.id = nn.Embedding(n_items + 1, dim)
        nn.init.normal_(self.id.weight, std=0.1)
        self.project: nn.Linear | None = None
        if vectors is not None:
            self.project = nn.Linear(vectors.shape[1], dim, bias=False)
            nn.init.normal_(self.project.weight, std=0.1)  # vectors have length 1: as the embedding of one token
            padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
            self.register_buffer("vectors", torch.from_numpy(padded), persistent=False)
        self.vectors: Tensor
        self.values: nn.Embedding | None = None
        if tokens is not None and tokens.size:
            self.values = nn.Embedding(tokens.size, dim)
            nn.init.normal_(self.values.weight, std=0.1)
            row, column = np.nonzero(tokens.codes < tokens.size)
            token = tokens.codes[row, column]
            order = np.argsort(token, kind="stable")
            # "No item" has no tokens: an empty bag at the end.
            self._register("token", token, "token_offset", np.searchsorted(row, np.arange(n_items + 1)))
            self._register("row", row[order], "row_offset", np.searchsorted(token[order], np.arange(tokens.size)))
            scale = torch.from_numpy(np.append(tokens.scale, np.float32(1)))
            self.register_buffer("scale", scale[:, None], persistent=False)
        self.scale: Tensor  # buffers, present if there are tokens
        self.token: Tensor
        self.token_offset: Tensor
        self.row: Tensor
        self.row_offset: Tensor

    def _register(
        self, name: str, index: npt.NDArray[np.int64], offset_name: str, offset: npt.NDArray[np.int64]
    ) -> None:
        self.register_buffer(name, torch.from_numpy(index), persistent=False)
        self.register_buffer(offset_name, torch.from_numpy(offset), persistent=False)

    def rows(self, items: Tensor) -> Tensor:
        """Embeddings of some items, of any shape ``(...) int64`` -> ``(..., d)``; the gradient of the ids is sparse."""
        own = nn.functional.embedding(items, self.id.weight, sparse=True)
        if self.project is not None:
            return own + nn.functional.linear(self.vectors[items], self.project.weight)
        if self.values is None:
            return own
        flat = items.reshape(-1)
        first = self.token_offset[flat]
        ends = torch.cat([self.token_offset[1:], self.token_offset.new_tensor([len(self.token)])])
        size = ends[flat] - first
        offset = size.cumsum(0) - size
        place = torch.arange(int(size.sum()), device=items.device) + (first - offset).repeat_interleave(size)
        sums = nn.functional.embedding_bag(self.token[place], self.values.weight, offset, mode="sum")
        return own + (sums * self.scale[flat]).view(own.shape)

    def forward(self) -> Tensor:
        """``(I + 1, d) float32``: the embeddings of all items; the last row is "no item" (padding)."""
        if self.project is not None:
            return torch.addmm(self.id.weight, self.vectors, self.project.weight.T)
        if self.values is None:
            return self.id.weight
        by_item, by_token = (self.token, self.token_offset), (self.row, self.row_offset)
        return torch.addcmul(self.id.weight, _bag_sums(self.values.weight, by_item, by_token), self.scale)


class _BagSums(torch.autograd.Function):
    """Sums of table rows by bags; the gradient is the same operation on the inverted index.

    PyTorch's own gradient of ``embedding_bag`` scatters row by row, which for a whole catalogue takes twenty times as
    long as the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, by_item: tuple[Tensor, Tensor], by_token: tuple[Tensor, Tensor]) -> Tensor:
        ctx.by_token = by_token
        return nn.functional.embedding_bag(by_item[0], table, by_item[1], mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, offset = ctx.by_token
        return nn.functional.embedding_bag(index, gradient.contiguous(), offset, mode="sum"), None, None


_bag_sums: Callable[[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]], Tensor] = _BagSums.apply
