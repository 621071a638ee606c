"""Continuations of one prefix side by side in one sequence: a tree, of which the mask shows each only its own branch.

Positions of every branch go on from the prefix, so that the model computes what it would compute for prefix and
continuation alone: the prefix once instead of k times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch


class Leaf(NamedTuple):
    """One continuation of one query.

    Attributes:
        row: index of the query in its request.
        part: index of the continuation in its query.
        ids: token ids, at least one.
    """

    row: int
    part: int
    ids: list[int]


class Pack(NamedTuple):
    """A prefix and some of its continuations, which share one sequence."""

    prefix: list[int]
    leaves: list[Leaf]

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return len(self.prefix) + sum(len(leaf.ids) for leaf in self.leaves)

    def halves(self) -> list[Pack]:
        """The same in two packs; empty if there is one leaf only."""
        middle = len(self.leaves) // 2
        return [Pack(self.prefix, part) for part in (self.leaves[middle:], self.leaves[:middle])] if middle else []


Encoded = dict[int, tuple[list[int], list[list[int]]]]
"""Row of a request -> token ids of its prefix, and of its continuations."""

# Tokens of the leaves of a pack. Every one of them is compared with all others, though the mask hides them: from about
# here on that costs more than to compute the prefix once more.
_LEAVES = 512


def make_packs(queries: Encoded, budget: int, together: bool) -> list[Pack]:
    """Packs of at most ``budget`` tokens, where a leaf alone does not exceed it. Queries with the same prefix share it.

    Args:
        queries: what is asked.
        budget: tokens.
        together: False: every pack has one leaf.
    """
    by_prefix: dict[tuple[int, ...], list[Leaf]] = {}
    for row, (prefix, continuations) in queries.items():
        leaves = [Leaf(row, index, ids) for index, ids in enumerate(continuations)]
        by_prefix.setdefault(tuple(prefix), []).extend(leaves)
    packs = []
    for key, leaves in by_prefix.items():
        current = Pack(list(key), [])
        length, most = 0, min(_LEAVES, budget - len(key))
        for leaf in leaves:
            if current.leaves and (not together or length + len(leaf.ids) > most):
                packs.append(current)
                current, length = Pack(list(key), []), 0
            current.leaves.append(leaf)
            length += len(leaf.ids)
        packs.append(current)
    return packs


def batches(packs: Sequence[Pack], most: int, budget: int) -> Iterator[list[Pack]]:
    """Packs in order of length, as batches of at most ``most`` packs and ``budget`` tokens, padding included."""
    batch: list[Pack] = []
    for pack in sorted(packs, key=lambda pack: pack.length):
        if batch and (len(batch) >= most or (len(batch) + 1) * pack.length > budget):
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch


class Layout(NamedTuple):
    """A batch of B packs as tensors, padded on the right to S tokens.

    Attributes:
        ids: ``(B, S) int64``.
        positions: ``(B, S) int64``, distance from the beginning of the branch, and of what precedes all packs.
        branch: ``(B, S) int64``, 0 in the prefix, j + 1 in leaf j, -1 behind the end.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    branch: torch.Tensor


def layout(packs: Sequence[Pack], pad_id: int, start: int = 0) -> Layout:
    """The packs of a batch as tensors; ``start`` tokens precede each of them."""
    width = max(pack.length for pack in packs)
    rows: list[list[list[int]]] = [[], [], []]
    for pack in packs:
        before, fill = len(pack.prefix), width - pack.length
        ids, positions, branch = list(pack.prefix), list(range(start, start + before)), [0] * before
        for j, leaf in enumerate(pack.leaves, 1):
            ids += leaf.ids
            positions += range(start + before, start + before + len(leaf.ids))
            branch += [j] * len(leaf.ids)
        for values, part, empty in zip(rows, (ids, positions, branch), (pad_id, 0, -1), strict=True):
            values.append(part + [empty] * fill)
    return Layout(*map(torch.tensor, rows))


def tree_mask(layout: Layout, window: int | None = None, start: int = 0) -> torch.Tensor:
    """``(B, 1, S, start + S) bool``: which positions (last axis) each position sees.

    It sees what precedes all packs, itself, the prefix, and what is before it in its own branch; with a window, of
    these the last ``window`` positions only. Padding sees itself, so that its softmax is finite.
    """
    branch, order = layout.branch, torch.arange(layout.ids.shape[1])
    seen = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen &= order[:, None] >= order
    if window is not None:
        seen &= layout.positions[:, :, None] - layout.positions[:, None, :] < window
    seen = torch.where((branch < 0)[:, :, None], torch.eye(len(order), dtype=torch.bool), seen)
    before = layout.positions[:, :, None] - torch.arange(start)
    seen = torch.cat([before < window if window is not None else torch.ones_like(before, dtype=torch.bool), seen], 2)
    return seen[:, None]


class Reading(NamedTuple):
    """Where the numbers of a batch are read: N positions, in the order of packs, leaves and tokens.

    Attributes:
        row: ``(N,) int64``, sequence of the batch.
        column: ``(N,) int64``, position whose next token is predicted.
        token: ``(N,) int64``, that token; where labels are read behind a leaf, unused.
        leaf: ``(N,) int64``, index of the leaf in the batch.
    """

    row: torch.Tensor
    column: torch.Tensor
    token: torch.Tensor
    leaf: torch.Tensor


def reading(packs: Sequence[Pack], behind: bool) -> Reading:
    """Positions that predict the leaves' tokens, or (``behind``) the one at the end of each leaf."""
    rows: list[tuple[int, int, int, int]] = []
    number = 0
    for row, pack in enumerate(packs):
        start, before = len(pack.prefix), len(pack.prefix) - 1
        for leaf in pack.leaves:
            end = start + len(leaf.ids) - 1
            columns = [end] if behind else [before, *range(start, end)]
            rows += [(row, column, token, number) for column, token in zip(columns, leaf.ids, strict=False)]
            start, number = end + 1, number + 1
    return Reading(*torch.tensor(rows, dtype=torch.int64).T.contiguous())


def windows(config: Any) -> tuple[int | None, bool]:
    """The sliding window of a model's attention (None: it has none), and whether some layers do without it.

    Args:
        config: configuration of the text model.
    """
    window = getattr(config, "sliding_window", None)
    if not isinstance(window, int) or not getattr(config, "use_sliding_window", True):
        return None, False
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds and "sliding_attention" not in kinds:
        return None, False
    return window, "full_attention" in kinds
