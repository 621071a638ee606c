"""What a prompt says of the user beside the history: attributes, and what was rated high and low (`judge.profile`).

Ratings are those of the visible log alone: of train users, without the rows that the source reserves for tests. Of a
validation or test user a profile holds the attributes.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import JudgeSettings


def require_profiles(catalogue: Catalogue, judge: JudgeSettings) -> None:
    """Check that the users have what ``judge.profile.shows`` asks for.

    Raises:
        InputError: they do not.
    """
    shows = judge.profile.shows
    if shows == "attributes" and not catalogue.user_texts:
        problem, expected = "the users have no attributes", "none, or users with text columns"
    elif shows == "ratings" and not np.isfinite(catalogue.visible().rating).any():
        problem, expected = "the visible log has no rating", "none or attributes, or a log with ratings"
    else:
        return
    raise InputError("judge.profile.shows", f"is {shows}, and {problem}", expected)


class Profiles:
    """The profiles of all users. Which items each shows is computed at once, a text when it is first asked for.

    Args:
        catalogue: users, and the log.
        judge: ``profile`` and ``min_rating`` are used: ratings from it on are liked, those below are disliked.
        lines: ``(I,)`` what stands for each item.

    Raises:
        InputError: as :func:`require_profiles`.
    """

    def __init__(self, catalogue: Catalogue, judge: JudgeSettings, lines: np.ndarray) -> None:
        require_profiles(catalogue, judge)
        view, self._lines, self._pad = catalogue.visible(), lines, catalogue.pad
        self._attributes = {name: values.astype(str) for name, values in catalogue.user_texts.items()}
        count = judge.profile.items if judge.profile.shows == "ratings" else 0
        liked, known = view.rating >= judge.min_rating, np.isfinite(view.rating)
        self._parts = {
            "Liked": self._most(view, known & liked, -view.rating, count),
            "Disliked": self._most(view, known & ~liked, view.rating, count),
        }
        self._texts: dict[int, str] = {}

    @staticmethod
    def _most(view: Catalogue, rows: np.ndarray, key: np.ndarray, count: int) -> np.ndarray:
        """The items of the ``count`` lowest keys of each user, ``(U, count)``; the later in the log, the earlier."""
        chosen = np.flatnonzero(rows)
        chosen = chosen[np.lexsort((-chosen, key[chosen], view.user[chosen]))]
        user = view.user[chosen]
        rank = np.arange(len(user)) - np.searchsorted(user, user)
        found = np.full((view.n_users, count), view.pad, np.int32)
        found[user[rank < count], rank[rank < count]] = view.item[chosen[rank < count]]
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Identifies all profiles, given the texts of the items."""
        digest = hashlib.sha256()
        for name, values in self._attributes.items():
            digest.update("\0".join([name, *values.tolist(), ""]).encode())
        for items in self._parts.values():
            digest.update(np.ascontiguousarray(items).tobytes())
        return digest.hexdigest()

    def texts(self, users: np.ndarray | None, rows: int, hidden: np.ndarray | None = None) -> list[str]:
        """The profiles of ``users`` ``(rows,)``, each some lines with their line breaks; None: of nobody, empty texts.

        Args:
            users: indices.
            rows: number of texts.
            hidden: ``(rows, k)`` items that a text may not name: of prompts that are learnt from, the candidates, one
                of which the user is known to have chosen.
        """
        if users is None:
            return [""] * rows
        if hidden is not None:
            return [self._text(int(user), items) for user, items in zip(users, hidden, strict=True)]
        for user in np.unique(users).tolist():
            if user not in self._texts:
                self._texts[user] = self._text(user, np.zeros(0, np.int32))
        return [self._texts[user] for user in users.tolist()]

    def _text(self, user: int, hidden: np.ndarray) -> str:
        values = [f"{name}: {values[user]}" for name, values in self._attributes.items() if values[user].strip()]
        text = ", ".join(values) + "\n" if values else ""
        for title, items in self._parts.items():
            shown = [item for item in items[user].tolist() if item != self._pad and item not in hidden]
            text += "".join([f"{title}:\n", *(f"- {self._lines[item]}\n" for item in shown)]) if shown else ""
        return text


def make_profiles(catalogue: Catalogue, judge: JudgeSettings, item_texts: np.ndarray) -> Profiles | None:
    """The profiles of ``judge.profile``; None: prompts say nothing of the user.

    Args:
        catalogue, judge: as of :class:`Profiles`.
        item_texts: ``(I,)`` lines in brackets, as of :class:`.builder.PromptBuilder`.
    """
    if judge.profile.shows == "none":
        return None
    return Profiles(catalogue, judge, np.array([text.strip()[1:-1] for text in item_texts], object))
