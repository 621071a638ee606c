"""The figures of a comparison: learning curves of each scenario, and the aggregate over all of them."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup

from ialp_rllib.report.kit import figures, svg
from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.results.schemas import EPOCHS

_MEASURES = {"return": "Return", "length": "Length"}
EPOCH_WORDS = {"0": "Epoch 0", "1": "Epoch 1", "2": "Epoch 2", "end": "End"}


def slug(text: str) -> str:
    """Text as a part of a file name or an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def curve_figures(curves: pd.DataFrame, scenario: str, policy: str, number: int) -> dict[str, Markup]:
    """File name -> figure: return and length of the last 20 training episodes, and in the test world.

    Args:
        number: of the scenario, so that ids differ though two names may look alike.
    """
    here = curves[curves["scenario"] == scenario]
    titles = {"train": "last 20 training episodes", f"test_{policy}": f"test world, {policy}"}
    return {
        f"{slug(scenario)}-{measure}-{series}": figures.learning_curve(
            here, series, measure, title=f"{words}, {title}", prefix=f"s{number}-"
        )
        for measure, words in _MEASURES.items()
        for series, title in titles.items()
        if series in set(here["series"])
    }


def beyond_figures(curves: pd.DataFrame, scenario: str, policy: str, number: int) -> dict[str, Markup]:
    """File name -> figure: coverage and diversity of what is recommended in the test world.

    Args:
        number: as in :func:`curve_figures`.

    Returns:
        Nothing where an older version measured the scenario, which did not look at what is recommended.
    """
    series = f"test_{policy}"
    here = curves[(curves["scenario"] == scenario) & (curves["series"] == series)]
    return {
        f"{slug(scenario)}-{name}": figures.learning_curve(
            here, series, measure, title=f"{name.capitalize()}, test world, {policy}", prefix=f"s{number}-"
        )
        for name, measure in (("coverage", "coverage"), ("diversity", "effective_items"))
        if here[measure].notna().any()
    }


def aggregate_figures(aggregate: pd.DataFrame, policy: str) -> dict[str, Markup]:
    """File name -> figure of the normalised returns at each epoch: a dot per method, its interval as a line."""
    mine = aggregate[(aggregate["policy"] == policy) & np.isfinite(aggregate["score"])]
    if mine.empty:
        return {}
    ends = mine[["score", "score_low", "score_high"]].to_numpy(float)
    low, high = min(0.0, float(np.nanmin(ends))), max(1.0, float(np.nanmax(ends)))
    return {
        f"aggregate-epoch-{epoch}": _dots(mine[mine["epoch"] == epoch], epoch, (low, high))
        for epoch in EPOCHS
        if epoch in set(mine["epoch"])
    }


def _dots(rows: pd.DataFrame, epoch: str, limits: tuple[float, float]) -> Markup:
    known = method_styles(rows["method"])
    with matplotlib.rc_context({**svg.STYLE, "axes.grid.axis": "x"}):
        figure, axes = svg.empty(EPOCH_WORDS[epoch], "normalised return (0: random, 1: best at the end)", "")
        figure.set_size_inches(4.3, 0.9 + 0.24 * len(known))
        for index, method in enumerate(known.values()):
            row = rows[rows["method"] == method.id].iloc[0]
            if np.isfinite([row["score_low"], row["score_high"]]).all():
                (line,) = axes.plot(
                    [row["score_low"], row["score_high"]], [index, index], color=method.colour, linewidth=5, alpha=0.35
                )
                line.set_gid(f"interval-{index}")
                line.set_solid_capstyle("butt")
            (dot,) = axes.plot(row["score"], index, "o", color=method.colour, markersize=5.5)
            dot.set_gid(f"dot-{index}")
        axes.set_yticks(range(len(known)), [method.label for method in known.values()])
        axes.set_ylim(len(known) - 0.4, -0.6)
        margin = 0.04 * (limits[1] - limits[0])
        axes.set_xlim(limits[0] - margin, limits[1] + margin)
        words = f"{EPOCH_WORDS[epoch]}: normalised return of {', '.join(m.label for m in known.values())}"
        return svg.markup(figure, f"aggregate-{epoch}", words)


def as_file(figure: Markup) -> str:
    """An inline figure as a file of its own: black on white, with a namespace and a font."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" color="#000" font-family="sans-serif" style="background: #fff"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{str(figure).removeprefix("<svg")}\n'
