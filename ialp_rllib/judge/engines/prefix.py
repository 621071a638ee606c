"""The beginning that the prompts of a request share, so that it is computed once (:mod:`.prefix_cache`).

Prompts of one judge begin with the same system text and instruction; those of one user, with the same history, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ialp_rllib.judge.engines.packing import Encoded, Pack

_WORTH = 0.05  # of a pack's tokens: a shorter beginning costs more than it saves (measured on a CPU)
_WORTH_A_TREE = 32  # tokens beyond what all share: with less in common, prompts stay in sequences of their own
_APART = 16  # tokens that the neighbours share beyond what two prompts share, where a group ends between the two


def common(prompts: Sequence[list[int]]) -> int:
    """Number of tokens with which all of the prompts begin."""
    first, last = min(prompts), max(prompts)  # in between, nothing can differ earlier
    return next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def without_common(packs: list[Pack]) -> tuple[list[int], list[Pack]]:
    """What all packs begin with, and the packs behind it; of each prefix at least its last token is left.

    Nothing where it is too little to be worth it.
    """
    prefixes = [pack.prefix for pack in packs]
    shared = min(common(prefixes), min(map(len, prefixes)) - 1) if len(packs) > 1 else 0
    if shared < _WORTH * sum(pack.length for pack in packs) / max(1, len(packs)) or shared < 1:
        return [], packs
    return prefixes[0][:shared], [Pack(pack.prefix[shared:], pack.leaves) for pack in packs]


def as_queries(prompts: dict[int, list[int]]) -> Encoded:
    """Prompts as queries with one continuation; those of one user, as in several orders, with one prefix.

    Args:
        prompts: row -> token ids, at least one.
    """
    rows = sorted(prompts, key=prompts.__getitem__)
    shared = [common([prompts[a], prompts[b]]) for a, b in pairwise(rows)]
    least = min(shared, default=0)
    queries: Encoded = {}
    group = rows[:1]
    for n, row in enumerate(rows[1:]):
        around = max(shared[max(0, n - 1) : n + 2])
        if shared[n] < least + _WORTH_A_TREE or shared[n] + _APART <= around:
            queries |= _group(prompts, group)
            group = []
        group.append(row)
    return queries | _group(prompts, group)


def _group(prompts: dict[int, list[int]], rows: list[int]) -> Encoded:
    """Prompts that share a prefix. At least their last token is behind it, where the answer is read."""
    length = min(common([prompts[row] for row in rows]), *(len(prompts[row]) - 1 for row in rows)) if rows else 0
    return {row: (prompts[row][:length], [prompts[row][length:]]) for row in rows}
