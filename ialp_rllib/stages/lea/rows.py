"""The rows of `ialp lea`: which recommender is trained with what of the LLM environment, and the controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.settings import LEA_ROWS, LEASettings, OfflineSettings, from_dict, to_dict
from ialp_rllib.settings.strict_yaml import parse_yaml

LLM_ENVIRONMENT, LLM_FREE = "llm", "llm_free"
"""The environment, and its control without an LLM, of the same size."""
NEIGHBOUR = "neighbour"
"""Item kNN's items as actions: a control, and the part of stage ``augment`` about them."""
WITHOUT_TRAINING = ("popularity", "item_knn", "vsknn")
FRESH = "leasr_fresh"
"""`leasr` without what the environment says about the users that it was learnt from."""
OBJECTIVES = ("sqn", "sac", "snqn", "sa2c")

_PARTS = {  # row -> states, rewards, actions
    "base": ("", "", ""),
    "s": (LLM_ENVIRONMENT, "", ""),
    "r": ("", LLM_ENVIRONMENT, ""),
    "sr": (LLM_ENVIRONMENT, LLM_ENVIRONMENT, ""),
    "lea": ("", "", LLM_ENVIRONMENT),
    "leasr": (LLM_ENVIRONMENT, LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    FRESH: (LLM_ENVIRONMENT, LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    "both": (LLM_ENVIRONMENT, LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    "shuffled": ("shuffled", LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    "noise": ("noise", LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    "text": ("text", LLM_ENVIRONMENT, LLM_ENVIRONMENT),
    "reward_1": (LLM_ENVIRONMENT, "", LLM_ENVIRONMENT),
    NEIGHBOUR: (LLM_ENVIRONMENT, LLM_ENVIRONMENT, NEIGHBOUR),
    "llm_free": (LLM_FREE, LLM_FREE, LLM_FREE),
}
LEA_KINDS = ("s", "r", "sr", "lea", "leasr", FRESH, "both")
"""Rows with something that the LLM environment says, and no control in the place of it."""
CONTROLS = ("shuffled", "noise", "text", "reward_1", NEIGHBOUR, "llm_free")
"""Rows that are `leasr` but for one part."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as tables print it: ``snqn-leasr``.
        kind: the entry of ``lea.rows``.
        objective: of the recommender; empty: nothing is trained.
        base: of the recommender.
        states, rewards, actions: where they come from; empty: none, and rewards are 1. ``llm``, ``llm_free``, and of
            states ``shuffled`` (those of another sequence), ``noise`` and ``text``, of actions ``neighbour``.
        own: settings of its recommender that differ from those of the others (``lea.by_row``).
    """

    name: str
    kind: str
    objective: str = ""
    base: str = ""
    states: str = ""
    rewards: str = ""
    actions: str = ""
    own: tuple[tuple[str, Any], ...] = ()

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments that it reads."""
        parts = {self.states, self.rewards, self.actions}
        parts |= {LLM_ENVIRONMENT} if self.states in ("shuffled", "noise") else set()
        return tuple(name for name in (LLM_ENVIRONMENT, LLM_FREE) if name in parts)

    def settings(self, offline: OfflineSettings) -> OfflineSettings:
        """The recommender's settings; a Q head that learns nothing ranks nothing.

        Raises:
            InputError: those of its own are unknown or out of range.
        """
        if self.own:
            offline = from_dict(OfflineSettings, {**to_dict(offline), **dict(self.own)}, "lea.by_row")
        le_to = "both" if self.kind == "both" else offline.le_to
        head = offline.ranked_by if self.objective in OBJECTIVES else "supervised"
        return replace(offline, objective=self.objective, base=self.base, le_to=le_to, ranked_by=head)


def rows_of(settings: LEASettings) -> list[Row]:
    """The rows that the settings ask for, in the order of :data:`ialp_rllib.settings.LEA_ROWS`.

    Raises:
        InputError: an unknown row or objective, or one twice.
    """
    _check("lea.rows", settings.rows, LEA_ROWS)
    _check("lea.objectives", settings.objectives, OBJECTIVES)
    found: list[Row] = []
    for kind in (kind for kind in LEA_ROWS if kind in settings.rows):
        if kind in WITHOUT_TRAINING:
            found.append(Row(kind, kind))
        elif kind in ("ce", "eval"):
            found.append(Row(f"{settings.offline.base}-{kind}", kind, kind, settings.offline.base))
        elif kind == "gru4rec":
            found.append(Row("gru4rec-ce", kind, "ce", "gru4rec"))
        else:
            for objective in settings.objectives:
                name = objective if kind == "base" else f"{objective}-{kind}"
                found.append(Row(name, kind, objective, settings.offline.base, *_PARTS[kind]))
    own = _by_row(settings.by_row, {row.name for row in found if row.objective})
    rows = [replace(row, own=own.get(row.name, ())) for row in {row.name: row for row in found}.values()]
    for row in rows:
        if row.own:
            row.settings(settings.offline)  # refuses settings that are none, before anything runs
    return rows


def _by_row(texts: tuple[str, ...], known: set[str]) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Name of a row -> settings of its own, of ``ROW.KEY=VALUE``."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        row, dot, key = name.rpartition(".")
        if not equals or not dot:
            raise InputError("lea.by_row", f"holds {text[:100]!r}", "ROW.KEY=VALUE, as gru4rec-ce.dropout=0.5")
        if row not in known:
            raise InputError("lea.by_row", f"names {row[:100]!r}", f"a row that is trained: {', '.join(sorted(known))}")
        if key in ("base", "objective", "le_to", "ranked_by"):
            expected = "another setting: this one is what the row is, or how all are ranked"
            raise InputError("lea.by_row", f"sets {key} of {row}", expected)
        try:
            found.setdefault(row, {})[key] = parse_yaml(value)
        except yaml.YAMLError as error:
            raise InputError("lea.by_row", f"holds {text[:100]!r}", "a value as of --set") from error
    return {row: tuple(values.items()) for row, values in found.items()}


def served_row(settings: LEASettings) -> Row:
    """The row whose recommender acts before users (method `lea`) and teaches the agent (``pretrain.source=lea``): leasr
    of the first objective.

    Raises:
        InputError: there is none, or its recommender needs the LLM to rank.
    """
    row = next((row for row in rows_of(settings) if row.kind == "leasr"), None)
    if row is None:
        raise InputError("lea.rows", "has no leasr, which method lea and pretrain.source=lea need", "leasr among them")
    if row.settings(settings.offline).le_to == "both":
        raise InputError("lea.offline.le_to", "is both: before users there are no states of the LLM", "q")
    return row


def environments_of(settings: LEASettings) -> tuple[str, ...]:
    """The environments that the rows read."""
    read = {name for row in rows_of(settings) for name in row.environments}
    return tuple(name for name in (LLM_ENVIRONMENT, LLM_FREE) if name in read)


def asks_neighbours(settings: LEASettings) -> bool:
    """Whether a row has item kNN's actions."""
    return any(row.actions == NEIGHBOUR for row in rows_of(settings))


def _check(where: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not names:
        raise InputError(where, "is empty", f"some of {', '.join(known)}")
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None:
        raise InputError(where, f"holds {wrong[:100]!r}", f"some of {', '.join(known)}")
    if len(set(names)) < len(names):
        raise InputError(where, "holds a name twice", "each once")
