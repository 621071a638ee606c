"""Figures of the reward that methods earn while they learn, with the name of each line at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.figures import thousands
from ialp_rllib.report.kit.names import label, method_order, method_styles
from ialp_rllib.report.kit.references import untrained
from ialp_rllib.report.run.first_weeks import balance

_SIZE = (5.1, 3.6)
_GAP = 0.062  # smallest distance of two names, as a fraction of the height of the axes
_SHOWN = "recommendations shown (environment steps)"

Line = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""x and y of a line."""


def earned_figure(lines: Mapping[str, pd.DataFrame], rates: Mapping[str, float]) -> Markup:
    """Sum of rewards over environment steps: a curve for each method that learns, a straight line for each reference.

    Args:
        lines: see :func:`.first_weeks.earned`.
        rates: see :func:`.first_weeks.rates`.
    """
    last = max(line["x"].iloc[-1] for line in lines.values())
    drawn: dict[str, Line] = {name: ((0.0, last), (0.0, rate * last)) for name, rate in rates.items()}
    drawn |= {name: (line["x"].to_numpy(), line["mean"].to_numpy()) for name, line in lines.items()}
    return _figure("earned", "Reward earned so far", "sum of rewards", drawn, rates)


def balance_figure(lines: Mapping[str, pd.DataFrame], rates: Mapping[str, float], bar: str) -> Markup:
    """The same less what one reference earns in as many steps: below 0 a method is behind it.

    Args:
        lines, rates: as in :func:`earned_figure`.
        bar: the reference.
    """
    last = max(line["x"].iloc[-1] for line in lines.values())
    drawn: dict[str, Line] = {name: ((0.0, last), (0.0, (rate - rates[bar]) * last)) for name, rate in rates.items()}
    for name, line in lines.items():
        against = balance(line, rates[bar])
        drawn[name] = (against.steps, against.ahead)
    late = untrained(lines)  # far below for long: the others set the scale where there are some
    shown = [y for name, (_, y) in drawn.items() if name in lines and (name not in late or len(late) == len(lines))]
    below, above = [min(y) for y in shown], [max(y) for y in shown]
    room = 0.12 * (max([0.0, *above]) - min([0.0, *below]))
    limits = (min([0.0, *below]) - room, max([0.0, *above]) + room)
    title = f"Ahead of or behind {label(bar)}"
    return _figure("balance", title, "difference of the sums", drawn, rates, limits)


def _figure(
    name: str,
    title: str,
    y: str,
    drawn: Mapping[str, Line],
    rates: Mapping[str, float],
    limits: tuple[float, float] | None = None,
) -> Markup:
    styles = method_styles(drawn)
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(title, _SHOWN, y, _SIZE)
        for index, style in enumerate(styles.values()):
            dash: Any = (0, style.dash) if style.dash else "-"
            thin = style.id in rates
            (line,) = axes.plot(
                *drawn[style.id],
                color=style.colour,
                linestyle=dash,
                linewidth=1.3 if thin else 1.9,
                zorder=2 if thin else 3,
            )
            line.set_gid(f"line-{index}")
        axes.set_xlim(0, max(x[-1] for x, _ in drawn.values()))
        if limits is not None:
            axes.set_ylim(*limits)
            axes.axhline(0, color=svg.INK, linewidth=0.8, alpha=0.6)
        else:
            axes.set_ylim(bottom=min(0.0, *(float(min(y)) for _, y in drawn.values())))
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        axes.yaxis.set_major_formatter(FuncFormatter(thousands))
        _name_lines(axes, {style.id: drawn[style.id] for style in styles.values()})
        return svg.to_markup(figure, f"weeks-{name}", f"{title}: {', '.join(s.label for s in styles.values())}")


def _name_lines(axes: Axes, drawn: Mapping[str, Line]) -> None:
    """The name of each line right of its end, or of the place where it leaves the axes, apart from each other."""
    styles = method_styles(drawn)
    low, high = axes.get_ylim()
    names = method_order(drawn)
    ends = np.array([(float(drawn[name][1][-1]) - low) / (high - low) for name in names])
    order = np.argsort(ends, kind="stable")
    places = spread(np.clip(ends[order], 0.0, 1.0), _GAP)
    for name, end, place in zip((names[i] for i in order), ends[order], places, strict=True):
        style = styles[name]
        beyond = " ↓" if end < 0 else " ↑" if end > 1 else ""
        axes.plot(
            [1.0, 1.035],
            [np.clip(end, 0, 1), place],
            color=style.colour,
            linewidth=1.3,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(1.045, place, style.label + beyond, transform=axes.transAxes, va="center", fontsize=8)


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Ascending places moved apart to a distance of at least ``gap``, as little as possible, within [0, 1] if they fit.

    Args:
        places: ``(n,)`` ascending.
        gap: smallest distance of neighbours.
    """
    # Neighbours that are too close form a group around their mean; groups that meet are merged.
    groups: list[list[float]] = []  # wanted places of each group
    span = gap * (len(places) - 1)
    lowest, highest = (0.0, 1.0) if span <= 1 else (0.5 - span / 2, 0.5 + span / 2)

    def start(group: list[float]) -> float:
        width = gap * (len(group) - 1)
        return float(np.clip(np.mean(group) - width / 2, lowest, highest - width))

    for place in places:
        groups.append([float(place)])
        while len(groups) > 1 and start(groups[-2]) + gap * len(groups[-2]) > start(groups[-1]) + 1e-12:
            groups[-2:] = [groups[-2] + groups[-1]]
    return np.concatenate([start(group) + gap * np.arange(len(group)) for group in groups]) if groups else places
