"""What the page of a service and ``ialp serve status`` show of the learner's ``status.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ialp_rllib.errors import InputError
from ialp_rllib.serving.folder import STATUS, ServiceFolder
from ialp_rllib.serving.guard import Interval
from ialp_rllib.serving.policy import ARMS
from ialp_rllib.settings.serving import GuardSettings
from ialp_rllib.storage import read_json

FIELDS = ("time", "current", "versions", "learner", "counts", "sessions", "arms", "points", "events")


class ArmRow(NamedTuple):
    """An arm: ended sessions, mean return, and its bounds; NaN where there is none."""

    arm: str
    sessions: int
    mean: float
    low: float
    high: float


def read_status(folder: ServiceFolder) -> dict[str, Any]:
    """What the learner reported last.

    Raises:
        InputError: it has not reported yet.
    """
    path = folder.root / STATUS
    if not path.is_file():
        raise InputError(str(folder.root), "has no status yet", "a service that has run for some seconds")
    state: dict[str, Any] = read_json(path, FIELDS)
    return state


def arm_rows(state: Mapping[str, Any], guard: GuardSettings) -> list[ArmRow]:
    """The arms with the returns of the versions that they get now, since these were published or promoted."""
    rows = []
    for arm in ARMS:
        known = Interval(**state["arms"][arm])
        finite = [value if value is not None else np.nan for value in (known.mean, known.low, known.high)]
        rows.append(ArmRow(arm, known.values, *finite))
    return rows


def curve(state: Mapping[str, Any], arm: str, least: int = 1) -> tuple[list[float], list[float]]:
    """Hours since the first point, and the mean return of an arm's sessions in each point that has ``least``."""
    points = state["points"]
    start = points[0]["time"] if points else 0.0
    kept = [point for point in points if point[arm][1] >= least]
    return [(p["time"] - start) / 3600 for p in kept], [p[arm][0] / p[arm][1] for p in kept]
