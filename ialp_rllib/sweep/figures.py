"""Figures of a sweep as inline SVG: response curves, parallel coordinates, and what was stopped when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from ialp_rllib.compare.variants import format_value
from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.figures import thousands
from ialp_rllib.sweep.space import Range, Space

_SPREAD, _GOLDEN = 0.3, 0.618  # dots of one value side by side: width, and share of it between two in a row
_BANDS = 5  # groups into which the values of a range are put for its mean line


def response(trials: pd.DataFrame, key: str, values: Sequence[Any] | Range, measure: str) -> Markup:
    """What a measure is over one setting: a dot per trial, hollow if it was stopped early, and a line of means.

    Args:
        trials: see :class:`.results.Results`.
        key: the setting.
        values: what it varied over.
        measure: name of the measure, for the axis.
    """
    kept = trials[~trials["stopped"]]
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(key, "", measure)
        if isinstance(values, Range):
            x, line = _over_range(axes, trials, kept, key, values)
        else:
            x, line = _over_values(axes, trials, kept, key, values)
        for stopped, face in ((False, svg.BLUE), (True, "none")):
            part = (trials["stopped"] == stopped).to_numpy()
            axes.plot(x[part], trials["mean"].to_numpy()[part], "o", markersize=4, color=svg.BLUE, markerfacecolor=face)
        if len(line):
            axes.plot(line[:, 0], line[:, 1], color=svg.ORANGE)
        return svg.to_markup(figure, f"response-{_id(key)}", f"{measure} over {key}, one dot per trial")


def _over_range(
    axes: Axes, trials: pd.DataFrame, kept: pd.DataFrame, key: str, values: Range
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the trials, and the means of groups with equally many of those that ran to the end."""
    if values.kind == "loguniform":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    points = kept.sort_values(key)[[key, "mean"]].to_numpy(float)
    groups = np.array_split(points, min(_BANDS, max(1, len(points) // 2)))
    return trials[key].to_numpy(float), np.asarray([group.mean(0) for group in groups if len(group)]).reshape(-1, 2)


def _over_values(
    axes: Axes, trials: pd.DataFrame, kept: pd.DataFrame, key: str, values: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray]:
    names = [format_value(value) for value in values]
    place = {name: index for index, name in enumerate(names)}
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", labelrotation=30 if sum(map(len, names)) > 40 else 0)
    at = trials[key].map(format_value).map(place).to_numpy(float)
    means = kept.groupby(kept[key].map(format_value).map(place))["mean"].mean()
    spread = _SPREAD * ((np.arange(len(at)) * _GOLDEN) % 1 - 0.5) if len(at) > len(names) else np.zeros(len(at))
    return at + spread, np.column_stack([means.index.to_numpy(float), means.to_numpy()])


def parallel(trials: pd.DataFrame, space: Space, measure: str) -> Markup:
    """Parallel coordinates: an axis per setting and one of the measure, a line per trial; the best ones stand out."""
    keys = list(space)
    columns = [_scaled(trials[key], space[key]) for key in keys]
    low, high = trials["mean"].min(), trials["mean"].max()
    share = ((trials["mean"] - low) / ((high - low) or 1.0)).to_numpy()
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("All trials", "", "")
        figure.set_size_inches(max(4.3, 1.7 * (len(keys) + 1)), 2.9)
        best = set(range(max(1, len(trials) // 10)))
        for index in reversed(range(len(trials))):
            points = [*(column[index] for column in columns), share[index]]
            colour, alpha, width = (svg.ORANGE, 1.0, 1.6) if index in best else (svg.BLUE, 0.35, 0.8)
            axes.plot(range(len(points)), points, color=colour, alpha=alpha, linewidth=width)
        axes.set_xticks(range(len(keys) + 1), [*(key.rpartition(".")[2] for key in keys), measure])
        axes.set_yticks([])
        axes.set_ylim(-0.06, 1.06)
        for at, key in enumerate(keys):
            _name_ends(axes, at, space[key])
        for height, value in ((0.0, low), (1.0, high)):
            axes.annotate(f"{value:.3g}", (len(keys), height), (4, 0), textcoords="offset points", fontsize=7.5)
        for at in range(len(keys) + 1):
            axes.axvline(at, color=svg.INK, linewidth=0.6, alpha=0.4)
        return svg.to_markup(figure, "parallel", f"{measure} and the values of {', '.join(keys)} of all trials")


def _scaled(column: pd.Series, values: Sequence[Any] | Range) -> np.ndarray:
    """Values on a scale from 0 to 1: along the range, or by their order in the list."""
    if isinstance(values, Range):
        numbers = column.to_numpy(float)
        low, high = values.low, values.high
        if values.kind == "loguniform":
            numbers, low, high = np.log(numbers), np.log(low), np.log(high)
        scaled: np.ndarray = (numbers - low) / (high - low)
        return scaled
    place = {format_value(value): index for index, value in enumerate(values)}
    return column.map(format_value).map(place).to_numpy(float) / max(1, len(values) - 1)


def _name_ends(axes: Axes, at: int, values: Sequence[Any] | Range) -> None:
    texts = [f"{end:g}" for end in values.ends()] if isinstance(values, Range) else [format_value(v) for v in values]
    for height, text in zip(np.linspace(0, 1, len(texts)) if len(texts) > 1 else [0.0], texts, strict=True):
        axes.annotate(text, (at, height), (4, 0), textcoords="offset points", fontsize=7.5)


def halving(rungs: pd.DataFrame, trials: pd.DataFrame, measure: str) -> Markup:
    """The mean of each trial at each of its rungs; those that were stopped end early."""
    means = rungs.groupby(["trial", "env_steps"])["value"].mean().reset_index()
    stopped: Mapping[str, bool] = trials.set_index("trial")["stopped"].to_dict()
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Trials by environment steps", "environment steps", measure)
        for trial, part in means.groupby("trial"):
            colour = svg.GREY if stopped[str(trial)] else svg.BLUE
            axes.plot(part["env_steps"], part["value"], "o-", color=colour, markersize=3, linewidth=1)
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        return svg.to_markup(figure, "halving", f"{measure} of each trial over environment steps; grey: stopped early")


def _id(key: str) -> str:
    return key.replace(".", "-").replace("_", "-")
