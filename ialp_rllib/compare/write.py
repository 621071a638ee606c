"""Files of a comparison: Parquet, CSV, Markdown, LaTeX, SVG, and the HTML page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ialp_rllib import __version__
from ialp_rllib.compare import beyond, budgets, personal, tables, varied
from ialp_rllib.compare.analysis import Analysis, analyse
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.compare.page import formats, page
from ialp_rllib.compare.page.figures import as_file
from ialp_rllib.errors import storage_errors
from ialp_rllib.report.kit.names import titles_of
from ialp_rllib.settings import fingerprint
from ialp_rllib.storage import write_atomic, write_text

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
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    for name, figure in figures.files().items():
        write_text(folder / "figures" / f"{name}.svg", as_file(figure))
    write_text(folder / "manifest.json", json.dumps(_manifest(measurements, analysis), indent=1) + "\n")
    write_text(folder / "index.html", text)
    log.info("comparison: %s", folder / "index.html")
    return analysis


def _manifest(measurements: Measurements, analysis: Analysis) -> dict[str, Any]:
    """What the results were made with, and what was chosen where by what figures."""
    return {
        "version": __version__,
        "world": measurements.world,
        "users_vary": measurements.users_vary,
        "seeds": sorted(int(seed) for seed in measurements.results["seed"].unique()),
        "tests": analysis.tests,
        "missing": [list(job) for job in measurements.missing],
        "selection": measurements.selection,
        "settings": {name: fingerprint(dict(tree)) for name, tree in measurements.settings.items()},
        "versions": dict(measurements.versions),
    }


def _write_tables(analysis: Analysis, folder: Path) -> None:
    for spec in tables.PUBLISHED_TABLES:
        _write_table(folder, spec.name, spec.title, analysis.published_tables[spec.name], tables.results_text, 3)
    _write_table(folder, "ratios", "Ratios of returns", analysis.ratios, tables.ratios_text, 4)
    _write_table(folder, "budgets", budgets.TITLE, budgets.both(analysis.budgets), budgets.budget_text, 3)
    _write_table(folder, "personal", personal.TITLE, analysis.personal, personal.personal_text, 3)
    _write_table(folder, "beyond", beyond.TITLE, analysis.beyond, beyond.beyond_text, 2)
    _write_table(folder, "varied", varied.TITLE, analysis.varied, varied.varied_text, 4)


def _write_table(
    folder: Path, name: str, title: str, table: pd.DataFrame, text: Callable[[pd.DataFrame], Any], text_columns: int
) -> None:
    """Write a table as CSV, and as Markdown and LaTeX, once for each policy in the same file; nothing if it is empty.

    Args:
        folder: folder of the files.
        name: their name without the suffix.
        title: title of the table.
        table: with the column ``policy``.
        text: function of the rows of one policy, returns header and rows of text.
        text_columns: number of columns of text, from the left.
    """
    if table.empty:
        return
    write_text(folder / f"{name}.csv", table.to_csv(index=False))
    markdown, latex = [], []
    for policy in dict.fromkeys(table["policy"]):
        head, rows = text(table[table["policy"] == policy])
        caption = f"{title}; {policy} policy; mean over seeds, 95% t interval"
        markdown.append(f"**{caption}**\n\n{formats.markdown(head, rows)}")
        latex.append(formats.latex(head, rows, caption, f"{name}-{policy}", text_columns))
    write_text(folder / f"{name}.md", "\n".join(markdown))
    write_text(folder / f"{name}.tex", "\n".join(latex))
