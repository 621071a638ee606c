"""In what runs differ from the publication, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ialp_rllib.settings import Departure
from ialp_rllib.settings.describe import as_text


@dataclass(frozen=True)
class DepartureRow:
    """One row.

    Attributes:
        setting: name of the setting; empty where it is not one setting.
        here, paper: what holds here, and in the publication.
        text: what the publication does.
        source: equation, algorithm or section.
        scenarios: the scenarios that the row is for; empty: all of the page.
    """

    setting: str
    here: str
    paper: str
    text: str
    source: str
    scenarios: tuple[str, ...]


def departure_rows(departures: Mapping[str, Sequence[Departure]]) -> list[DepartureRow]:
    """Rows of all departures, each once, settings first.

    Args:
        departures: scenario -> :func:`ialp_rllib.settings.departures` of its settings.
    """
    scenarios: dict[Departure, list[str]] = {}
    for name, found in departures.items():
        for departure in found:
            scenarios.setdefault(departure, []).append(name)
    order = {setting: n for n, setting in enumerate(dict.fromkeys(departure.setting for departure in scenarios))}
    rows = sorted(scenarios, key=lambda departure: (not departure.setting, order[departure.setting]))
    return [
        DepartureRow(
            row.setting,
            as_text(row.here),
            as_text(row.paper),
            row.text,
            row.source,
            () if len(scenarios[row]) == len(departures) else tuple(scenarios[row]),
        )
        for row in rows
    ]
