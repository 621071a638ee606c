"""The files of a sweep: tables, the winner, and the page."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pandas as pd

from ialp_rllib.errors import storage_errors
from ialp_rllib.storage import write_atomic, write_json, write_text
from ialp_rllib.sweep.page import render
from ialp_rllib.sweep.plan import Sweep
from ialp_rllib.sweep.results import Results


def write(sweep: Sweep, results: Results) -> None:
    """Write ``trials.parquet``, ``rungs.parquet``, ``best.json`` and ``index.html`` into the sweep's folder."""
    best = {"values": results.best, "metric": sweep.study.metric, "world": "valid", "seeds": sweep.study.seeds}
    best |= {"environment_steps": results.spent, "of": results.total, "study": sweep.identity}
    with storage_errors(sweep.out):
        for name, table in (("trials", results.trials), ("rungs", results.rungs), ("final", results.final)):
            if table is not None:
                write_atomic(sweep.out / f"{name}.parquet", partial(_write_parquet, _plain(table)))
    write_json(sweep.out / "best.json", best)
    page = render(sweep, results)
    write_text(sweep.out / "index.html", page)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with values that one column type cannot hold as JSON."""
    mixed = [name for name in table if table[name].dtype == object and not table[name].map(type).eq(str).all()]
    return table.assign(**{name: table[name].map(json.dumps) for name in mixed})


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)
