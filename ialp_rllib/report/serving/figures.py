"""Figures of a service: returns by arm, and the hand-over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup

from ialp_rllib.report.kit import svg
from ialp_rllib.report.serving.numbers import curve

COLOURS = {"control": svg.GREY, "canary": svg.ORANGE, "promoted": svg.BLUE}
_WINDOW = 9  # points that a line is the running mean of, at most


def returns_figure(state: Mapping[str, Any]) -> Markup | None:
    """Mean session return of each arm over time; None before there are two points."""
    if len(state["points"]) < 2:
        return None
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Session return by arm", "hours", "return", (6.4, 3.0))
        for index, (arm, colour) in enumerate(COLOURS.items()):
            hours, means = curve(state, arm)
            if not hours:
                continue
            axes.plot(hours, means, ".", color=colour, markersize=2.5, alpha=0.35)
            (line,) = axes.plot(hours, _smooth(means), color=colour)
            line.set_gid(f"line-{index}")
        if all(mean >= 0 for arm in COLOURS for mean in curve(state, arm)[1]):
            axes.set_ylim(bottom=0)
        return svg.to_markup(figure, "returns", "Mean session return of control, canary and promoted arm over time")


def alpha_figure(state: Mapping[str, Any]) -> Markup | None:
    """Alpha of the promoted version over time; None before there are two points."""
    points = state["points"]
    if len(points) < 2:
        return None
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Alpha of the promoted version", "hours", "alpha", (6.4, 2.0))
        hours = [(point["time"] - points[0]["time"]) / 3600 for point in points]
        (line,) = axes.step(hours, [point["alpha"] for point in points], where="post", color=svg.BLUE)
        line.set_gid("line-0")
        axes.set_ylim(0, 1.02)
        return svg.to_markup(figure, "alpha", "Weight alpha of the learning policy in the promoted version over time")


def _smooth(values: list[float]) -> np.ndarray:
    """Running mean over neighbours, over fewer at the ends."""
    width = min(_WINDOW, 2 * (len(values) // 6) + 1)
    ones = np.ones(width)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")
