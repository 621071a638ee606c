"""The groups of learning curves of a page."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ialp_rllib.report.kit import figures
from ialp_rllib.results.schemas import SERIES

_TITLES = {"train": "Training", "test_sampled": "Test, sampled", "test_greedy": "Test, greedy"}


def curve_groups(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Groups of learning curves: return, length, coverage, diversity, pre-training, and alpha.

    A method with several points before its first environment step was pre-trained against the judge: those points are
    drawn over updates, in a group of their own.

    Returns:
        ``title`` and ``figures`` of each group that is not empty.
    """
    offline = curves[curves.groupby(["method", "seed", "series"])["env_steps"].transform("max") == 0]
    offline = offline[offline.groupby(["method", "seed", "series"])["updates"].transform("nunique") > 1]
    tested = curves.dropna(subset=["coverage", "effective_items"])
    groups = [
        _group(curves, "return", "Return R over online training"),
        _group(curves, "length", "Episode length Len over online training"),
        _group(tested, "coverage", "Coverage: fraction of the items that are recommended"),
        _group(tested, "effective_items", "Diversity: effective number of recommended items"),
        _group(offline, "return", "Return R over pre-training against the judge", over="updates"),
    ]
    alpha = figures.alpha_curve(curves)
    if alpha is not None:
        groups.append({"title": "Schedule of the mixtures", "figures": [alpha]})
    return [group for group in groups if group["figures"]]


def _group(curves: pd.DataFrame, measure: str, title: str, over: str = "env_steps") -> dict[str, Any]:
    """Training and test curves of a measure. The test curves share a scale; rewards of the train world may differ."""
    test = curves.loc[curves["series"] != "train", measure]
    top = float(test.max()) if test.notna().any() else None
    charts = [
        figures.learning_curve(
            curves, series, measure, title=_TITLES[series], over=over, top=None if series == "train" else top
        )
        for series in SERIES
        if series in set(curves["series"])
    ]
    return {"title": title, "figures": charts}
