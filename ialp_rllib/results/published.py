"""Published results for comparison: Wang et al., WSDM 2025 (arXiv 2501.13816), as printed.

In two cells of LFM (A2C and iALP at the end) the printed reward per step is not return / length; they are copied as
they are.
"""

from __future__ import annotations

import re

PublishedResult = tuple[float, float, float]
"""Return, episode length, reward per step."""

SOURCE = "Wang, Karatzoglou, Arapakis, Jose: LLM driven Policy Exploration for Recommender Systems, WSDM 2025"

PUBLISHED: dict[str, dict[str, dict[str, PublishedResult]]] = {
    "coat": {
        "end": {
            "dqn": (54.3, 22.1, 2.47),
            "pg": (79.3, 29.8, 2.66),
            "a2c": (81.7, 29.9, 2.73),
            "ialp": (31.2, 12.9, 2.42),
            "aialp_ft": (83.2, 29.6, 2.81),
            "aialp_ap": (84.4, 29.7, 2.84),
        }
    },
    "lfm": {
        "0": {
            "dqn": (1.53, 4.52, 0.34),
            "pg": (1.73, 4.73, 0.37),
            "a2c": (1.96, 5.15, 0.38),
            "ialp": (5.11, 6.21, 0.82),
        },
        "1": {
            "dqn": (5.04, 6.01, 0.84),
            "pg": (4.85, 6.32, 0.77),
            "a2c": (6.12, 6.84, 0.89),
            "aialp_ft": (8.83, 8.01, 1.11),
        },
        "end": {
            "dqn": (28.8, 9.53, 3.02),
            "pg": (29.7, 8.46, 3.51),
            "a2c": (28.1, 9.29, 1.55),
            "ialp": (11.2, 7.21, 3.21),
            "aialp_ft": (31.5, 10.1, 3.13),
            "aialp_ap": (33.1, 10.2, 3.22),
        },
    },
    "industry": {
        "0": {
            "dqn": (1.12, 5.21, 0.21),
            "pg": (1.06, 5.15, 0.22),
            "a2c": (2.43, 5.92, 0.41),
            "ialp": (6.35, 5.94, 1.06),
        },
        "1": {
            "dqn": (3.84, 6.51, 0.59),
            "pg": (3.32, 5.96, 0.56),
            "a2c": (7.32, 6.41, 1.14),
            "aialp_ft": (9.28, 8.62, 1.07),
        },
        "end": {
            "dqn": (40.3, 11.3, 3.57),
            "pg": (43.3, 10.4, 4.16),
            "a2c": (46.3, 10.8, 4.28),
            "ialp": (25.3, 10.7, 2.36),
            "aialp_ft": (52.4, 11.5, 4.55),
            "aialp_ap": (51.8, 11.3, 4.58),
        },
    },
}


def published(scenario: str) -> dict[str, dict[str, PublishedResult]]:
    """Published results on the data set of a scenario.

    The data set is the scenario's name up to the first character that is neither letter nor digit: ``coat``,
    ``coat_split`` and ``coat-small`` all map to Coat.

    Returns:
        Epoch -> method -> result; empty if nothing is published for this data set.
    """
    return PUBLISHED.get(re.split(r"[^a-z0-9]", scenario.lower(), maxsplit=1)[0], {})
