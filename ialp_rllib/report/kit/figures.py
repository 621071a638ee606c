"""Learning curves and calibration curves as inline SVG (see :mod:`.svg`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.names import MethodStyle, method_styles
from ialp_rllib.results.curves import curve

_MEASURE = {
    "return": "return R",
    "length": "length Len (steps)",
    "reward_per_step": "reward per step",
    "alpha": "alpha",
    "coverage": "coverage (fraction of items)",
    "effective_items": "effective items",
}
_OVER = {"env_steps": "environment steps", "updates": "updates"}


def learning_curve(
    curves: pd.DataFrame,
    series: str,
    measure: str,
    *,
    title: str = "",
    over: str = "env_steps",
    top: float | None = None,
    prefix: str = "",
) -> Markup:
    """A measure over training, one line per method: the mean over seeds with its 95% interval as a band.

    A method with a single point is drawn as a dot with a horizontal line.

    Args:
        curves: rows of ``curves``.
        series: the series to draw.
        measure: ``return``, ``length``, ``reward_per_step``, ``alpha``, ``coverage`` or ``effective_items``.
        title: title of the axes.
        over: the x axis, ``env_steps`` or ``updates``.
        top: upper end of the y axis, to give adjacent figures the same scale; ``None``: from the data.
        prefix: prefix of its ids, for pages that show the same figure for several scenarios.
    """
    part = curves[curves["series"] == series]
    scenarios = set(part["scenario"])
    styles = method_styles(part["method"], scenarios.pop() if len(scenarios) == 1 else "")
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(title, _OVER[over], _MEASURE[measure])
        lines = []
        for index, (name, style) in enumerate(styles.items()):
            line = curve(part[part["method"] == name], measure, over)
            if len(line):
                _draw(axes, line, style, f"line-{index}")
                lines.append(line)
        lowest = min((line["mean"].min() for line in lines), default=0.0)
        if lowest >= 0:  # bands of few seeds are wide: the lines set the scale
            highest = max((line["mean"].max() for line in lines), default=1.0)
            axes.set_ylim(0, (1.15 * highest or None) if top is None else 1.05 * top)
        last = max((line["x"].max() for line in lines), default=1)
        axes.set_xlim(0, max(last, 1) * 1.02)
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        description = f"{title or series}: {_MEASURE[measure]} of {', '.join(s.label for s in styles.values())}"
        return svg.to_markup(figure, f"{prefix}{series}-{measure}-{over}", description)


def alpha_curve(curves: pd.DataFrame) -> Markup | None:
    """Weight alpha of the learning policy in the mixture over training; ``None`` if no method has one."""
    part = curves.dropna(subset=["alpha"])
    if part.empty:
        return None
    series = part["series"].value_counts().index[0]
    return learning_curve(part, series, "alpha", title="Weight alpha of the learning policy", top=1.0)


def calibration_curve(groups: Sequence[Mapping[str, float]], title: str) -> Markup:
    """Reliability diagram: observed frequency over predicted probability; the diagonal is perfect calibration.

    Args:
        groups: ``predicted`` and ``observed`` of each bin, in ascending order of the prediction.
        title: title of the axes; also makes the ids unique.
    """
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(title, "predicted", "observed")
        axes.plot([0, 1], [0, 1], color=svg.INK, linewidth=0.8, alpha=0.4)
        x, y = ([float(group[name]) for group in groups] for name in ("predicted", "observed"))
        (line,) = axes.plot(x, y, color=svg.BLUE, marker="o", markersize=3.5, clip_on=False)
        line.set_gid("line-0")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        return svg.to_markup(
            figure, f"calibration-{re.sub('[^a-z]+', '-', title.lower())}", f"{title}: observed over predicted"
        )


def _draw(axes: Axes, line: pd.DataFrame, style: MethodStyle, gid: str) -> None:
    dash: Any = (0, style.dash) if style.dash else "-"
    if len(line) == 1:
        level = axes.axhline(line["mean"].iloc[0], color=style.colour, linestyle=dash, linewidth=1.2)
        level.set_gid(f"{gid}-level")
        (artist,) = axes.plot(line["x"], line["mean"], "o", color=style.colour, markersize=4.5, clip_on=False)
    else:
        if line["low"].notna().any():
            band = axes.fill_between(line["x"], line["low"], line["high"], color=style.colour, alpha=0.18, linewidth=0)
            band.set_gid(f"{gid}-band")
        (artist,) = axes.plot(line["x"], line["mean"], color=style.colour, linestyle=dash)
    artist.set_gid(gid)


def thousands(value: float, _: int | None = None) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
