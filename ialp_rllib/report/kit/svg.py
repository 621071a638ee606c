"""Matplotlib figures as inline SVG: small, without scripts, legible on a light and on a dark background.

Lines and text are written in ``currentColor`` and text stays text, so that a figure takes on the colour and font of the
page. Matplotlib's global state is not changed: figures can be drawn in any process and thread.
"""

from __future__ import annotations

import io
import re
from typing import Any

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Placeholder for the page's text colour while matplotlib draws, replaced by `currentColor`. No line has this colour.
INK = "#010203"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C959F"
STYLE: Any = {  # matplotlib types each key separately
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
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0,
    "lines.linewidth": 1.7,
}


def new_figure(title: str, x: str, y: str, size: tuple[float, float] = (4.3, 2.6)) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes.

    Args:
        title: title of the axes.
        x, y: labels of the axes.
        size: width and height in inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def number_ids(bars: Any, gid: str) -> None:
    """Set the SVG ids of bars to ``GID-0``, ``GID-1``, ..."""
    for index, bar in enumerate(bars):
        bar.set_gid(f"{gid}-{index}")


def to_markup(figure: Figure, prefix: str, description: str) -> Markup:
    """The figure as an SVG element for a page that holds other figures, too.

    Matplotlib writes a stand-alone file: a prologue, a style for all elements, namespaces, and ids that repeat from
    figure to figure. In a page ids must be unique: a clip path with the id of another figure's clips wrongly.

    Args:
        figure: the figure.
        prefix: prefix of its ids, unique in the page.
        description: text for screen readers (``aria-label``).
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
    # its style rules, `* {...}`, would apply to the whole page
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    text = text.replace(INK, "currentColor")
    head = f'<svg role="img" aria-label="{escape(description)}"'
    text = re.sub(r'^<svg\s+width="[^"]*"\s+height="[^"]*"', lambda _: head, text, count=1)
    return Markup(text.strip())  # matplotlib escapes text, and `description` is escaped above
