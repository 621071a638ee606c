"""Files of a comparison: Parquet, CSV, Markdown, LaTeX, SVG, and the HTML page."""

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
from ialp_rllib.report.kit.names import titles_of
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)


def write_comparison(measurements: Measurements, folder: Path) -> Analysis:
    """Analyse the measurements and write all files of a comparison.

    Args:
        measurements: see :func:`.measurements.collect`.
        folder: created if it does not exist; files of an earlier comparison in it are replaced.

    Raises:
        InputError: the folder cannot be written to.
    """
    with titles_of(measurements.settings):
        return _write(measurements, folder)


def _write(measurements: Measurements, folder: Path) -> Analysis:
    analysis = analyse(measurements)
    figures = page.draw(measurements, analysis)
    text = page.render(measurements, analysis, figures)
    with storage_errors(folder):
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "results.parquet", partial(pq.write_table, measurements.result_rows))
    write_atomic(folder / "curves.parquet", partial(pq.write_table, measurements.curve_rows))
    _write_tables(analysis, folder)
    overall = pd.concat([analysis.contrasts, analysis.overall], ignore_index=True)
    for name, table in (("contrasts", overall), ("aggregate", analysis.aggregate), ("costs", analysis.costs)):
        _write_text(folder / f"{name}.csv", table.to_csv(index=False))
    for name, figure in figures.files().items():
        _write_text(folder / "figures" / f"{name}.svg", as_file(figure))
    _write_text(folder / "index.html", text)
    log.info("comparison: %s", folder / "index.html")
    return analysis


def _write_tables(analysis: Analysis, folder: Path) -> None:
    for spec in tables.PUBLISHED_TABLES:
        table = analysis.published_tables[spec.name]
        _write_text(folder / f"{spec.name}.csv", table.to_csv(index=False))
        texts = {p: tables.results_text(table[table["policy"] == p]) for p in analysis.policies}
        _write_texts(folder, spec.name, spec.title, texts, 3, analysis.average)
    ratios = analysis.ratios
    _write_text(folder / "ratios.csv", ratios.to_csv(index=False))
    texts = {p: tables.ratios_text(ratios[ratios["policy"] == p]) for p in analysis.policies}
    _write_texts(folder, "ratios", "Ratios of returns to those of the best baseline", texts, 5, analysis.average)
    table = analysis.beyond
    _write_text(folder / "beyond.csv", table.to_csv(index=False))
    texts = {p: beyond.beyond_text(table[table["policy"] == p]) for p in analysis.policies}
    _write_texts(folder, "beyond", beyond.TITLE, texts, 2, analysis.average)
    if len(analysis.varied):
        _write_text(folder / "varied.csv", analysis.varied.to_csv(index=False))
        texts = {p: varied.varied_text(analysis.varied[analysis.varied["policy"] == p]) for p in analysis.policies}
        _write_texts(folder, "varied", varied.TITLE, texts, 4, analysis.average)


def _write_texts(
    folder: Path,
    name: str,
    title: str,
    texts: dict[str, tuple[list[str], list[list[str]]]],
    text_columns: int,
    average: str,
) -> None:
    """Write a table as Markdown and LaTeX, once for each policy in the same file.

    Args:
        folder: folder of the files.
        name: their name without the suffix.
        title: title of the table.
        texts: policy -> header and rows.
        text_columns: number of columns of text, from the left.
        average: name of the average over seeds.
    """
    markdown, latex = [], []
    for policy, (head, rows) in texts.items():
        caption = f"{title}; {policy} policy; {average} over seeds, stratified bootstrap 95% interval"
        markdown.append(f"**{caption}**\n\n{formats.markdown(head, rows)}")
        latex.append(formats.latex(head, rows, caption, f"{name}-{policy}", text_columns))
    _write_text(folder / f"{name}.md", "\n".join(markdown))
    _write_text(folder / f"{name}.tex", "\n".join(latex))


def _write_text(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomic(path, write)
