"""A world of three items whose sessions can all be enumerated, with policies as tables."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ialp_rllib.ope.log import Log
from ialp_rllib.ope.sessions import Sessions, sessions_of
from ialp_rllib.results.logged import logged_table

ITEMS, HORIZON = ("a", "b", "c"), 3


class Session(NamedTuple):
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    left: bool


def play(actions: tuple[int, ...]) -> Session:
    """The answers of the one user: a repeated item bores, and item c after it sends the user away."""
    rewards: list[float] = []
    for step, action in enumerate(actions):
        again = step > 0 and actions[step - 1] == action
        rewards.append(0.3 * (action + 1) * (0.5 if again else 1.0))
        if again and action == 2:
            return Session(actions[: step + 1], tuple(rewards), True)
    return Session(actions, tuple(rewards), False)


def all_sessions() -> list[Session]:
    return list(dict.fromkeys(play(actions) for actions in itertools.product(range(3), repeat=HORIZON)))


def policy(strength: float) -> dict[tuple[int, ...], np.ndarray]:
    """Probabilities of the items for each history, in quarters where ``strength`` is 0."""
    rng, table = np.random.default_rng(3), {}
    for length in range(HORIZON):
        for history in itertools.product(range(3), repeat=length):
            weight = np.array([2.0, 1.0, 1.0]) * np.exp(strength * rng.standard_normal(3))
            table[history] = weight / weight.sum()
    return table


def probability(session: Session, table: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
    """Of each of its actions."""
    return np.array([table[session.actions[:t]][action] for t, action in enumerate(session.actions)])


def value(table: dict[tuple[int, ...], np.ndarray]) -> float:
    """The true return of a policy, by enumeration."""
    return sum(float(probability(s, table).prod()) * sum(s.rewards) for s in all_sessions())


def whole_log(table: dict[tuple[int, ...], np.ndarray], copies: int) -> tuple[pa.Table, list[Session]]:
    """Each session as often as ``copies`` sessions of the policy have it on average, which must be whole numbers."""
    columns: dict[str, list[object]] = {name: [] for name in logged_columns()}
    chosen: list[Session] = []
    for session in all_sessions():
        p = probability(session, table)
        number = copies * float(p.prod())
        assert abs(number - round(number)) < 1e-9
        for _ in range(round(number)):
            append(columns, session, p, str(len(chosen)))
            chosen.append(session)
    return logged_table(columns), chosen


def logged_columns() -> list[str]:
    from ialp_rllib.results.logged import LOGGED

    return [name for name in LOGGED.names if name != "answers"]


def append(columns: dict[str, list[object]], session: Session, p: np.ndarray, name: str) -> None:
    last = len(session.actions) - 1
    for t, action in enumerate(session.actions):
        ended = "" if t < last else ("left" if session.left else "limit")
        row = {
            "decision": f"{name}-{t}",
            "session": name,
            "user": f"user {name}",
            "position": t,
            "items": [ITEMS[i] for i in session.actions[:t]],
            "item": ITEMS[action],
            "probability": float(p[t]),
            "version": 1,
            "alpha": 0.0,
            "reward": session.rewards[t],
            "ended": ended,
            "arm": "",
        }
        for key, entry in row.items():
            columns[key].append(entry)


def sessions(table: pa.Table) -> Sessions:
    return sessions_of(Log(table, ("log.parquet",), np.zeros(1, int)))
