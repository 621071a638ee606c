"""Histories and candidates of all their positions in one sequence, one token per item.

``[bos, x_1 .. x_T, c_11 .. c_1K, .., c_P1 .. c_PK]``: candidate c_tk sees bos, x_1 .. x_t and itself and has position
t + 1, so that its hidden state is what it would be if it were the next item; x_{t+1} has its own for nothing. T (K + 1)
comparisons cost T (K + 1) + 1 tokens instead of about T² (K + 1) / 2. Histories are padded on the right: what is before
the padding does not see it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Positions and masks of one batch; the same for all its rows.

    Attributes:
        positions: ``(S,) int64`` of bos, T items and P x K candidates.
        mask: ``(S, S) bool``, which positions (last axis) each one sees.
        chain: number of positions of bos and items, T + 1.
    """

    positions: Tensor
    mask: Tensor
    chain: int


def packing(length: int, states: int = 0, candidates: int = 0) -> Packing:
    """The layout of histories of ``length`` items with ``candidates`` after each of the first ``states`` items."""
    chain = length + 1
    after = torch.arange(1, states + 1).repeat_interleave(candidates)  # index in the chain of the item before
    size = chain + len(after)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:chain, :chain] = torch.ones(chain, chain, dtype=torch.bool).tril()
    mask[chain:, :chain] = torch.arange(chain) <= after[:, None]
    mask |= torch.eye(size, dtype=torch.bool)
    return Packing(torch.cat([torch.arange(chain), after + 1]), mask, chain)
