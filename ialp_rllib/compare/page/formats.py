"""Tables of text as Markdown and LaTeX (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ialp_rllib.report.kit.formatting import ABSENT

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "−": "$-$",
    "\n": " ",
}


def latex_escape(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with pipes; special characters in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_markdown_cell(cell) for cell in line)} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return re.sub(r"([\\|<*_`\[\]])", r"\\\1", re.sub(r"\s+", " ", text))


def latex(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, name: str, texts: int) -> str:
    """A ``table*`` environment, scaled to the text width; it needs the packages ``booktabs`` and ``graphicx``.

    A rule separates rows with different first cells; columns of numbers without any value are left out.

    Args:
        head: header.
        rows: cells of each row.
        caption: caption of the table.
        name: its label is ``tab:NAME``.
        texts: number of columns of text, from the left; the others are numbers, aligned to the right.
    """
    shown = [c for c in range(len(head)) if c < texts or any(row[c] != ABSENT for row in rows)]
    head, rows = [head[c] for c in shown], [[row[c] for c in shown] for row in rows]
    body = []
    for index, row in enumerate(rows):
        if index and row[0] != rows[index - 1][0]:
            body.append(r"\midrule")
        body.append(_latex_row(row))
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{latex_escape(caption)}}}",
        rf"\label{{tab:{name}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(head) - texts)}}}",
        r"\toprule",
        _latex_row(head),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    # Braces, since a row that begins with "[" would be read as the optional argument of the \\ before it.
    first, *others = (latex_escape(cell) for cell in cells)
    return " & ".join([f"{{{first}}}" if first.startswith("[") else first, *others]) + r" \\"
