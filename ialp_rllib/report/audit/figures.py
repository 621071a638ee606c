"""Figures of the audit and of the tuning of a judge, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ialp_rllib.report.kit import svg


def label_histogram(
    shares: Sequence[float], expected: Sequence[float] | None = None, before: Sequence[float] | None = None
) -> Markup:
    """Shares of the labels among the judge's answers, with those expected without position bias.

    Args:
        shares: ``(k + 1,)`` fractions of the answers, one per label, the last one of None.
        expected: ``(k + 1,)`` expected fractions of a judge without position bias.
        before: ``(k + 1,)`` fractions before tuning.
    """
    labels = [*_letters(len(shares) - 1), "None"]
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Share of the answers per label", "", "")
        _bars(axes, shares, before)
        if expected is not None:
            for index, share in enumerate(expected):
                (mark,) = axes.plot([index - 0.45, index + 0.45], [share, share], color=svg.INK, linewidth=1.2)
                mark.set_gid(f"expected-{index}")
        axes.set_xticks(np.arange(len(shares)), labels)
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return svg.to_markup(figure, "labels", "Share of the judge's answers per label")


def letter_preference(times: Sequence[float], before: Sequence[float] | None = None) -> Markup:
    """How often each letter is chosen over all cyclic orders of the candidates, relative to the mean.

    Args:
        times: ``(k,)`` relative frequencies, one per letter; 1 without position bias.
        before: ``(k,)`` the same before tuning.
    """
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure("Effect of the letter alone", "", "relative frequency")
        _bars(axes, times, before)
        axes.axhline(1.0, color=svg.INK, linewidth=1.2).set_gid("expected")
        axes.set_xticks(np.arange(len(times)), _letters(len(times)))
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, max(2.0, axes.get_ylim()[1]))
        return svg.to_markup(figure, "positions", "Relative frequency with which the judge chooses each letter")


def accuracy_by_group(
    groups: Mapping[str, Sequence[Mapping[str, Any]]], prefix: str, title: str, x: str, chance: float | None = None
) -> Markup:
    """Accuracy in groups of prompts with 95% intervals, for each kind of other candidates (negatives).

    Args:
        groups: ``uniform`` or ``popular`` -> groups with ``low``, ``high``, ``accuracy`` and ``interval``. The first
            kind determines the labels of the x axis.
        prefix: prefix of the figure's ids.
        title: title of the axes.
        x: label of the x axis: what the groups differ in.
        chance: accuracy by chance, drawn as a line.
    """
    first = next(iter(groups.values()))
    labels, lows = [group_name(group) for group in first], [group["low"] for group in first]
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(title, x, "")
        for index, (kind, rows) in enumerate(groups.items()):
            group = np.searchsorted(lows, [row["low"] for row in rows], side="right") - 1
            position = group + 0.16 * (index - (len(groups) - 1) / 2)
            accuracy, ends = [row["accuracy"] for row in rows], np.array([row["interval"] for row in rows]).T
            colour, marker = {"uniform": (svg.BLUE, "o"), "popular": (svg.ORANGE, "D")}[kind]
            lines = axes.vlines(position, *ends, color=colour, linewidth=1.4)
            lines.set_gid(f"intervals-{kind}")
            (dots,) = axes.plot(position, accuracy, marker, color=colour, markersize=5)
            dots.set_gid(f"dots-{kind}")
        if chance is not None:
            axes.axhline(chance, color=svg.INK, linewidth=1.0, linestyle=(0, (4, 3)), alpha=0.6).set_gid("chance")
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylim(0, 1)
        axes.set_xticks(np.arange(len(labels)), labels)
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return svg.to_markup(figure, prefix, f"{title}: accuracy of the judge")


def group_name(group: Mapping[str, Any]) -> str:
    """The range of values of a group: 3, or 4–7."""
    low, high = (f"{group[end]:,}" for end in ("low", "high"))
    return low if low == high else f"{low}–{high}"


def _bars(axes: Axes, values: Sequence[float], before: Sequence[float] | None) -> None:
    """Blue bars, with grey ones next to them if there are as many values from before tuning."""
    position, paired = np.arange(len(values)), before is not None and len(before) == len(values)
    width, shift = (0.4, 0.2) if paired else (0.7, 0.0)
    if paired:
        svg.number_ids(axes.bar(position - shift, np.asarray(before, float), width, color=svg.GREY), "before")
    svg.number_ids(axes.bar(position + shift, np.asarray(values, float), width, color=svg.BLUE), "bar")


def _letters(count: int) -> list[str]:
    return [chr(ord("a") + index) for index in range(count)]


def tuning_curve(values: Sequence[float], measure: str) -> Markup:
    """Loss or accuracy of the judge during tuning.

    Args:
        values: one value per logged point.
        measure: ``loss`` or ``accuracy``.
    """
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(f"Tuning: {measure}", "logged point", "")
        (line,) = axes.plot(np.arange(1, len(values) + 1), np.asarray(values, float), color=svg.BLUE)
        line.set_gid("line-0")
        if len(values) < 30:
            line.set_marker("o")
            line.set_markersize(3)
        axes.set_ylim(bottom=0, top=1.0 if measure == "accuracy" else None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return svg.to_markup(figure, f"tuning-{measure}", f"{measure} of the judge during tuning")
