"""The figures of the report as inline SVG: small, without scripts, legible on white and on dark ground.

Ink is written as ``currentColor`` and text stays text, so that a figure takes the colour and the font of the page. No
global state of matplotlib is touched: figures can be drawn in any process and thread.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ialp_rllib.report import tables
from ialp_rllib.report.names import Method, methods

# Stands for the page's ink while matplotlib draws; replaced by `currentColor`. No line has this colour.
_INK = "#010203"
_BAR, _BEFORE = "#0072B2", "#8C959F"
_STYLE: Any = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "ialp",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": _INK,
    "axes.titlecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0,
    "lines.linewidth": 1.7,
}
_MEASURE = {
    "return": "return R",
    "length": "length Len (steps)",
    "reward_per_step": "reward per step",
    "alpha": "alpha",
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
) -> Markup:
    """A measure over training, one line per method: the mean over seeds, with its 95% band.

    A method with a single point (one that does not learn online) is a dot and a thin level line.

    Args:
        curves: rows of ``curves``.
        series: the series to draw.
        measure: ``return``, ``length``, ``reward_per_step`` or ``alpha``.
        title: stands above the axes.
        over: the x axis, ``env_steps`` or ``updates``.
        top: upper end of the y axis, so that figures side by side compare; ``None``: from the data.
    """
    part = curves[curves["series"] == series]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(title, _OVER[over], _MEASURE[measure])
        drawn = []
        for index, (name, method) in enumerate(methods(part["method"]).items()):
            line = tables.curve(part[part["method"] == name], measure, over)
            if len(line):
                _draw(axes, line, method, f"line-{index}")
                drawn.append(line)
        lowest = min((np.nanmin(line[["mean", "low"]].to_numpy()) for line in drawn), default=0.0)
        if lowest >= 0:
            axes.set_ylim(0, top if top is None else 1.05 * top)
        longest = max((line["x"].max() for line in drawn), default=1)
        axes.set_xlim(0, max(longest, 1) * 1.02)
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        words = ", ".join(methods(part["method"])[name].label for name in methods(part["method"]))
        return _svg(figure, f"{series}-{measure}-{over}", f"{title or series}: {_MEASURE[measure]} of {words}")


def alpha_curve(curves: pd.DataFrame) -> Markup | None:
    """The mixture's weight of the learning policy over training; ``None`` where no method has one."""
    part = curves.dropna(subset=["alpha"])
    if part.empty:
        return None
    series = part["series"].value_counts().index[0]
    return learning_curve(part, series, "alpha", title="Weight alpha of the learning policy", top=1.0)


def label_histogram(
    shares: Sequence[float], expected: Sequence[float] | None = None, before: Sequence[float] | None = None
) -> Markup:
    """How often the judge names each label, beside what an unbiased judge would.

    Args:
        shares: of the answers, one per label, the last one None; fractions.
        expected: the shares that an unbiased judge would have.
        before: the shares before tuning.
    """
    labels = [*(chr(ord("a") + index) for index in range(len(shares) - 1)), "None"]
    place = np.arange(len(shares))
    pair = before is not None and len(before) == len(shares)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("Share of the answers per label", "", "")
        width = 0.4 if pair else 0.7
        if pair:
            bars = axes.bar(place - 0.2, np.asarray(before, float), width, color=_BEFORE)
            _name(bars, "before")
        _name(axes.bar(place + (0.2 if pair else 0.0), np.asarray(shares, float), width, color=_BAR), "bar")
        if expected is not None:
            for index, share in enumerate(expected):
                (mark,) = axes.plot([index - 0.45, index + 0.45], [share, share], color=_INK, linewidth=1.2)
                mark.set_gid(f"expected-{index}")
        axes.set_xticks(place, labels)
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return _svg(figure, "labels", "Share of the judge's answers per label")


def tuning_curve(values: Sequence[float], measure: str) -> Markup:
    """The judge's loss or accuracy while it was tuned, over the logged points."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(f"Tuning: {measure}", "logged point", "")
        (line,) = axes.plot(np.arange(1, len(values) + 1), np.asarray(values, float), color=_BAR)
        line.set_gid("line-0")
        if len(values) < 30:
            line.set_marker("o")
            line.set_markersize(3)
        axes.set_ylim(bottom=0, top=1.0 if measure == "accuracy" else None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return _svg(figure, f"tuning-{measure}", f"{measure} of the judge while it was tuned")


def calibration_curve(groups: Sequence[Mapping[str, float]], title: str) -> Markup:
    """Predicted probability against what was observed, one dot per group; the diagonal is perfect calibration.

    Args:
        groups: ``predicted`` and ``observed`` of each, in ascending order of the prediction.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(title, "predicted", "observed")
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.4)
        x, y = ([float(group[name]) for group in groups] for name in ("predicted", "observed"))
        (line,) = axes.plot(x, y, color=_BAR, marker="o", markersize=3.5, clip_on=False)
        line.set_gid("line-0")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        return _svg(figure, f"calibration-{re.sub('[^a-z]+', '-', title.lower())}", f"{title}: predicted and observed")


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.3, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _draw(axes: Axes, line: pd.DataFrame, method: Method, gid: str) -> None:
    dash: Any = (0, method.dash) if method.dash else "-"
    if len(line) == 1:
        level = axes.axhline(line["mean"].iloc[0], color=method.colour, linestyle=dash, linewidth=1.2)
        level.set_gid(f"{gid}-level")
        (drawn,) = axes.plot(line["x"], line["mean"], "o", color=method.colour, markersize=4.5, clip_on=False)
    else:
        if line["low"].notna().any():
            band = axes.fill_between(line["x"], line["low"], line["high"], color=method.colour, alpha=0.18, linewidth=0)
            band.set_gid(f"{gid}-band")
        (drawn,) = axes.plot(line["x"], line["mean"], color=method.colour, linestyle=dash)
    drawn.set_gid(gid)


def _name(bars: Any, gid: str) -> None:
    for index, bar in enumerate(bars):
        bar.set_gid(f"{gid}-{index}")


def _thousands(value: float, _: int | None = None) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"


def _svg(figure: Figure, name: str, words: str) -> Markup:
    """The figure as an SVG element that can stand in a page beside others.

    Matplotlib writes a file of its own: a prologue, a style for everything, namespaces, and ids that repeat from
    figure to figure. In a page, ids must be unique, and a clip path that is taken from another figure cuts wrongly.
    """
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Creator": None, "Date": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)  # `* {...}`: of the whole page
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    text = text.replace(_INK, "currentColor")
    head = f'<svg role="img" aria-label="{escape(words)}"'
    text = re.sub(r'^<svg\s+width="[^"]*"\s+height="[^"]*"', lambda _: head, text, count=1)
    return Markup(text.strip())  # matplotlib escapes text, and `words` is escaped above
