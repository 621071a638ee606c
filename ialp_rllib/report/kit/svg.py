"""How the report's figures are made: small inline SVG, without scripts, legible on white and on dark ground.

Ink is written as ``currentColor`` and text stays text, so that a figure takes the colour and the font of the page. No
global state of matplotlib is touched: figures can be drawn in any process and thread.
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

# Stands for the page's ink while matplotlib draws; replaced by `currentColor`. No line has this colour.
INK = "#010203"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C959F"
STYLE: Any = {  # matplotlib types its keys one by one
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


def empty(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure of the report's size, and its axes."""
    figure = Figure(figsize=(4.3, 2.6), layout="constrained")
    drawn = figure.add_subplot()
    drawn.set_title(title)
    drawn.set_xlabel(x)
    drawn.set_ylabel(y)
    drawn.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    drawn.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, drawn


def number_ids(bars: Any, gid: str) -> None:
    """Number the ids of bars."""
    for index, bar in enumerate(bars):
        bar.set_gid(f"{gid}-{index}")


def markup(figure: Figure, prefix: str, words: str) -> Markup:
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
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    text = text.replace(INK, "currentColor")
    head = f'<svg role="img" aria-label="{escape(words)}"'
    text = re.sub(r'^<svg\s+width="[^"]*"\s+height="[^"]*"', lambda _: head, text, count=1)
    return Markup(text.strip())  # matplotlib escapes text, and `words` is escaped above
