"""Lists of what users chose, for the tuning objective `sequence`, in the wording of `judge.answer=likelihood`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.tokens import RAW, PromptTokenizer
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.settings import JudgeSettings


class Sequences(NamedTuple):
    """Tokenised lists of items.

    Attributes:
        ids: n lists of token ids, not padded: the heading, then the lines of the items.
        starts: ``(n,) int64``, where the first line begins: its tokens and all that follow are to be predicted.
    """

    ids: list[list[int]]
    starts: np.ndarray


def draw_windows(
    catalogue: Catalogue, users: np.ndarray, n: int, judge: JudgeSettings, rng: np.random.Generator
) -> list[np.ndarray]:
    """Cut the log of users, in random order, into windows of ``judge.history + 1`` items, until they hold n items.

    Args:
        catalogue: holds the log. Test rows and interactions rated below ``judge.min_rating`` are left out.
        users: indices of the users.
        n: number of interactions; fewer where the log holds fewer. No interaction is taken twice.
        judge: ``history`` and ``min_rating`` are used.
        rng: random generator.

    Returns:
        Item arrays of 1 to ``judge.history + 1`` items, in chronological order.

    Raises:
        InputError: no user has two interactions.
    """
    chosen = (catalogue.split == 0) & ~(catalogue.rating < judge.min_rating)  # NaN, no rating, does not count as low
    user, item = catalogue.user[chosen], catalogue.item[chosen]
    starts, ends = np.searchsorted(user, users), np.searchsorted(user, users, "right")
    usable = np.flatnonzero(ends - starts > 1)
    if not len(usable):
        raise InputError(
            "interactions", "no user of this world has two interactions that count", "longer logs, or judge.min_rating"
        )
    windows: list[np.ndarray] = []
    width = judge.history + 1
    for index in rng.permutation(usable):
        for first in range(starts[index], ends[index], width):
            if n <= 0:
                return windows
            windows.append(item[first : min(first + width, ends[index], first + n)])
            n -= len(windows[-1])
    return windows


def encode_windows(
    windows: list[np.ndarray], builder: LineBuilder, tokenizer: PromptTokenizer
) -> tuple[Sequences, list[str]]:
    """Token ids of windows, as an engine has them that is asked for the likelihood of a line behind others.

    Heading and lines are tokenised apart, without a chat template.

    Returns:
        The sequences that fit the model, and for each of the others the reason.
    """
    head = tokenizer.encode([builder.head], RAW)[0]
    items = np.unique(np.concatenate(windows)) if windows else np.zeros(0, int)
    lines = dict(zip(items.tolist(), tokenizer.pieces(builder.lines[items].tolist()), strict=True))
    ids, refused = [], []
    for window in windows:
        sequence = [*head, *(token for item in window.tolist() for token in lines[item])]
        reason = tokenizer.refusal(sequence)
        if reason:
            refused.append(reason)
        else:
            ids.append(sequence)
    return Sequences(ids, np.full(len(ids), len(head))), refused
