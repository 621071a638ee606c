"""Leave a comparison on the disk: Parquet, CSV, Markdown, LaTeX, SVG, and the page."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from ialp_rllib.compare import beyond, tables, varied
from ialp_rllib.compare.analysis import Analysis, analyse
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.compare.page import formats, page
from ialp_rllib.compare.page.figures import as_file
from ialp_rllib.errors import storage_errors
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)


def write(measured: Measurements, folder: Path) -> Analysis:
    """Write everything into ``folder``; files of an earlier comparison in it are replaced.

    Raises:
        InputError: the folder cannot be written to.
    """
    analysis = analyse(measured)
    drawings = page.draw(measured, analysis)
    text = page.render(measured, analysis, drawings)
    with storage_errors(folder):
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "results.parquet", partial(pq.write_table, measured.result_rows))
    write_atomic(folder / "curves.parquet", partial(pq.write_table, measured.curve_rows))
    _write_tables(analysis, folder)
    overall = pd.concat([analysis.contrasts, analysis.overall], ignore_index=True)
    for name, table in (("contrasts", overall), ("aggregate", analysis.aggregate), ("costs", analysis.costs)):
        _write_text(folder / f"{name}.csv", table.to_csv(index=False))
    for name, figure in drawings.files().items():
        _write_text(folder / "figures" / f"{name}.svg", as_file(figure))
    _write_text(folder / "index.html", text)
    log.info("comparison: %s", folder / "index.html")
    return analysis


def _write_tables(analysis: Analysis, folder: Path) -> None:
    for kind in tables.PUBLISHED_TABLES:
        table = analysis.published_tables[kind.name]
        _write_text(folder / f"{kind.name}.csv", table.to_csv(index=False))
        texts = {p: tables.results_text(table[table["policy"] == p]) for p in analysis.policies}
        _write_texts(folder, kind.name, kind.title, texts, 3, analysis.middle)
    ratios = analysis.ratios
    _write_text(folder / "ratios.csv", ratios.to_csv(index=False))
    texts = {p: tables.ratios_text(ratios[ratios["policy"] == p]) for p in analysis.policies}
    _write_texts(folder, "ratios", "Ratios of returns to the best baseline's", texts, 5, analysis.middle)
    beside = analysis.beyond
    _write_text(folder / "beyond.csv", beside.to_csv(index=False))
    texts = {p: beyond.beyond_text(beside[beside["policy"] == p]) for p in analysis.policies}
    _write_texts(folder, "beyond", beyond.TITLE, texts, 2, analysis.middle)
    if len(analysis.varied):
        _write_text(folder / "varied.csv", analysis.varied.to_csv(index=False))
        texts = {p: varied.varied_text(analysis.varied[analysis.varied["policy"] == p]) for p in analysis.policies}
        _write_texts(folder, "varied", varied.TITLE, texts, 4, analysis.middle)


def _write_texts(
    folder: Path, name: str, title: str, texts: dict[str, tuple[list[str], list[list[str]]]], words: int, middle: str
) -> None:
    """The same table for each policy, as Markdown and LaTeX; ``words``: columns of text from the left."""
    marks, codes = [], []
    for policy, (head, rows) in texts.items():
        caption = f"{title}; {policy} policy; {middle} over seeds, stratified bootstrap 95% interval"
        marks.append(f"**{caption}**\n\n{formats.markdown(head, rows)}")
        codes.append(formats.latex(head, rows, caption, f"{name}-{policy}", words))
    _write_text(folder / f"{name}.md", "\n".join(marks))
    _write_text(folder / f"{name}.tex", "\n".join(codes))


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: _put(temporary, text))


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
