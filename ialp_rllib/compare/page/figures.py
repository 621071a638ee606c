"""Figures of a comparison: learning curves of each scenario, and the aggregate over all scenarios."""

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
EPOCH_TITLES = {"0": "Epoch 0", "1": "Epoch 1", "2": "Epoch 2", "end": "End"}


def slug(text: str) -> str:
    """Text in a form for file names and ids: lower-case letters and digits, separated by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def curve_figures(curves: pd.DataFrame, scenario: str, policy: str, number: int, world: str) -> dict[str, Markup]:
    """Learning curves of return and length: last 20 training episodes, and the world of the measurements.

    Args:
        curves: rows of ``curves``.
        scenario: the scenario to draw.
        policy: ``sampled`` or ``greedy``.
        number: index of the scenario, for unique ids: slugs of two names may be equal.
        world: name of the world of the measurements.

    Returns:
        File name -> figure.
    """
    part = curves[curves["scenario"] == scenario]
    titles = {"train": "last 20 training episodes", f"test_{policy}": f"{world} world, {policy}"}
    return {
        f"{slug(scenario)}-{measure}-{series}": figures.learning_curve(
            part, series, measure, title=f"{name}, {title}", prefix=f"s{number}-"
        )
        for measure, name in _MEASURES.items()
        for series, title in titles.items()
        if series in set(part["series"])
    }


def beyond_figures(curves: pd.DataFrame, scenario: str, policy: str, number: int, world: str) -> dict[str, Markup]:
    """Learning curves of coverage and diversity in the world of the measurements.

    Args:
        curves: rows of ``curves``.
        scenario: the scenario to draw.
        policy: ``sampled`` or ``greedy``.
        number, world: as in :func:`curve_figures`.

    Returns:
        File name -> figure; empty for results of an older version without these measures.
    """
    series = f"test_{policy}"
    part = curves[(curves["scenario"] == scenario) & (curves["series"] == series)]
    return {
        f"{slug(scenario)}-{name}": figures.learning_curve(
            part, series, measure, title=f"{name.capitalize()}, {world} world, {policy}", prefix=f"s{number}-"
        )
        for name, measure in (("coverage", "coverage"), ("diversity", "effective_items"))
        if part[measure].notna().any()
    }


def aggregate_figures(aggregate: pd.DataFrame, policy: str) -> dict[str, Markup]:
    """Normalised returns over all scenarios at each epoch: a dot per method, with its interval as a bar.

    Args:
        aggregate: see :func:`ialp_rllib.compare.estimates.aggregate`.
        policy: ``sampled`` or ``greedy``.

    Returns:
        File name -> figure.
    """
    rows = aggregate[(aggregate["policy"] == policy) & np.isfinite(aggregate["score"])]
    if rows.empty:
        return {}
    scores = rows[["score", "score_low", "score_high"]].to_numpy(float)
    low, high = min(0.0, float(np.nanmin(scores))), max(1.0, float(np.nanmax(scores)))
    return {
        f"aggregate-epoch-{epoch}": _dot_plot(rows[rows["epoch"] == epoch], epoch, (low, high))
        for epoch in EPOCHS
        if epoch in set(rows["epoch"])
    }


def _dot_plot(rows: pd.DataFrame, epoch: str, limits: tuple[float, float]) -> Markup:
    styles = method_styles(rows["method"])
    with matplotlib.rc_context({**svg.STYLE, "axes.grid.axis": "x"}):
        figure, axes = svg.new_figure(EPOCH_TITLES[epoch], "normalised return (0: random, 1: best known)", "")
        figure.set_size_inches(4.3, 0.9 + 0.24 * len(styles))
        for index, style in enumerate(styles.values()):
            row = rows[rows["method"] == style.id].iloc[0]
            interval = [row["score_low"], row["score_high"]]
            if np.isfinite(interval).all():
                (line,) = axes.plot(interval, [index, index], color=style.colour, linewidth=5, alpha=0.35)
                line.set_gid(f"interval-{index}")
                line.set_solid_capstyle("butt")
            (dot,) = axes.plot(row["score"], index, "o", color=style.colour, markersize=5.5)
            dot.set_gid(f"dot-{index}")
        axes.set_yticks(range(len(styles)), [style.label for style in styles.values()])
        axes.set_ylim(len(styles) - 0.4, -0.6)
        margin = 0.04 * (limits[1] - limits[0])
        axes.set_xlim(limits[0] - margin, limits[1] + margin)
        methods = ", ".join(style.label for style in styles.values())
        return svg.to_markup(figure, f"aggregate-{epoch}", f"{EPOCH_TITLES[epoch]}: normalised return of {methods}")


def as_file(figure: Markup) -> str:
    """An inline figure as the text of an SVG file: black on white, with a namespace and a font."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" color="#000" font-family="sans-serif" style="background: #fff"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{str(figure).removeprefix("<svg")}\n'
