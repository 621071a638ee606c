"""Tables of text as Markdown and as LaTeX (booktabs)."""

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
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_markdown_cell(cell) for cell in line)} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return re.sub(r"([\\|<*_`\[\]])", r"\\\1", re.sub(r"\s+", " ", text))


def latex(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, name: str, texts: int) -> str:
    """A ``table*`` environment; needs the packages ``booktabs`` and ``graphicx`` (it is scaled to the text's width).

    Args:
        texts: so many columns from the left are words; the others are numbers, set flush right.
        name: of its label, ``tab:NAME``.

    A rule stands where the first cell differs from the one above; a column in which no row says anything is left out.
    """
    said = [c for c in range(len(head)) if c < texts or any(row[c] != ABSENT for row in rows)]
    head, rows = [head[c] for c in said], [[row[c] for c in said] for row in rows]
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
    # Braces: a row that begins with "[" would be read as the optional argument of the \\ before it.
    first, *others = (latex_escape(cell) for cell in cells)
    return " & ".join([f"{{{first}}}" if first.startswith("[") else first, *others]) + r" \\"
