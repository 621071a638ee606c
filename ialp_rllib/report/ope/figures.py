"""Figures of an off-policy evaluation, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from ialp_rllib.ope.bounds import Estimate
from ialp_rllib.report.kit import svg


def differences(estimates: Mapping[str, Estimate], margin: float) -> Markup:
    """Differences with their intervals, one line per estimator, and the margin.

    Args:
        margin: loss that may be, in units of the return.
    """
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Difference of the return", "", "")
        for row, (name, found) in enumerate(reversed(list(estimates.items()))):
            axes.hlines(row, found.low, found.high, color=svg.BLUE, linewidth=2.0).set_gid(f"interval-{name}")
            (dot,) = axes.plot(found.value, row, "o", color=svg.BLUE, markersize=5)
            dot.set_gid(f"dot-{name}")
        axes.axvline(0.0, color=svg.INK, linewidth=0.8, alpha=0.5).set_gid("zero")
        axes.axvline(-margin, color=svg.ORANGE, linewidth=1.2, linestyle=(0, (4, 3))).set_gid("margin")
        axes.set_yticks(np.arange(len(estimates)), [*estimates][::-1])
        axes.set_ylim(-0.6, len(estimates) - 0.4)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        return svg.to_markup(figure, "differences", "Difference of the return with its interval, by estimator")


def effective_sizes(effective: np.ndarray, sessions: int) -> Markup:
    """Effective sample size after each decision of the sessions."""
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Effective sample size", "decision of the session", "sessions")
        (line,) = axes.plot(np.arange(1, len(effective) + 1), effective, color=svg.BLUE, marker="o", markersize=3)
        line.set_gid("line-0")
        axes.axhline(sessions, color=svg.INK, linewidth=0.8, alpha=0.5, linestyle=(0, (4, 3))).set_gid("sessions")
        axes.set_ylim(0, 1.08 * sessions)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return svg.to_markup(figure, "effective", "Effective sample size after each decision of the sessions")


def weight_histogram(last: np.ndarray, clip: float) -> Markup:
    """Weights of the whole sessions, by factors of ten."""
    exponent = np.log10(np.maximum(last, 1e-6))
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Weights of the sessions", "weight", "sessions")
        counts, edges = np.histogram(exponent, np.linspace(min(-1.0, exponent.min()), max(1.0, exponent.max()), 31))
        bars = axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=svg.BLUE, alpha=0.75)
        svg.number_ids(bars, "bar")
        axes.axvline(np.log10(clip), color=svg.ORANGE, linewidth=1.2, linestyle=(0, (4, 3))).set_gid("clip")
        ticks = np.arange(np.floor(edges[0]), np.ceil(edges[-1]) + 1)
        axes.set_xticks(ticks, [f"{10**tick:g}" for tick in ticks])
        return svg.to_markup(figure, "weights", "Histogram of the weights of the sessions")
