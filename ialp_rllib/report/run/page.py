"""The report of a run: two Parquet tables and one self-contained HTML page."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.errors import storage_errors
from ialp_rllib.report.audit.section import judge_section
from ialp_rllib.report.kit import figures
from ialp_rllib.report.kit.departures import departure_rows
from ialp_rllib.report.kit.formatting import flatten, format_count, format_number, format_seconds
from ialp_rllib.report.kit.glossary import glossary
from ialp_rllib.report.kit.names import BASELINE, label, method_order, method_styles, titles_of
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.run import sections, tables
from ialp_rllib.report.run.summary import main_method, summarise
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import SOURCE
from ialp_rllib.results.schemas import EPOCHS, POLICIES, SERIES, check_curves, check_results, of_budget
from ialp_rllib.settings import Departure
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)

_POLICY_TITLES = {"sampled": "sampled policy", "greedy": "greedy policy"}
_SERIES_TITLES = {"train": "Training", "test_sampled": "Test, sampled", "test_greedy": "Test, greedy"}


def write_report(
    folder: Path,
    *,
    scenario: str,
    results: pa.Table,
    curves: pa.Table,
    judge: Mapping[str, Any] | None,
    users: Mapping[str, Any],
    settings: Mapping[str, Any],
    versions: Mapping[str, Any],
    notes: Sequence[str],
    stages: Sequence[Mapping[str, Any]],
    alerts: Sequence[str] = (),
    departures: Sequence[Departure] = (),
) -> Path:
    """Write ``results.parquet``, ``curves.parquet`` and ``index.html`` into ``folder``.

    Args:
        folder: created if it does not exist; files of an earlier report in it are replaced.
        scenario: name of the scenario.
        results: in the schema :data:`ialp_rllib.results.schemas.RESULTS`.
        curves: in the schema :data:`ialp_rllib.results.schemas.CURVES`; may be empty.
        judge: audit of the judge, or ``None`` if the run has no judge.
        users: numbers on the simulated users, possibly in nested groups.
        settings: settings of the run as nested plain data (:func:`ialp_rllib.settings.to_dict`).
        versions: name of a component -> version.
        notes: limitations of the results that a reader must know; shown at the top.
        stages: for each stage ``name``, ``seconds``, ``bytes`` and ``reused`` (up to date from an earlier call).
        alerts: what makes the results worthless; shown in red, before the notes.
        departures: in what the run differs from the publication.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: a table does not conform to its schema, or the folder cannot be written to. No partial file is left.
    """
    results, curves = check_results(results), check_curves(curves)
    with titles_of({scenario: settings}):
        page = render(
            scenario=scenario,
            results=of_budget(results.to_pandas()),
            curves=of_budget(curves.to_pandas()),
            judge=judge,
            users=users,
            settings=settings,
            versions=versions,
            notes=notes,
            stages=stages,
            alerts=alerts,
            departures=departures,
        )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "results.parquet", lambda path: pq.write_table(results, path))
    write_atomic(folder / "curves.parquet", lambda path: pq.write_table(curves, path))
    write_atomic(folder / "index.html", lambda path: _write_text(path, page))
    log.info("report: %s", folder / "index.html")
    return folder / "index.html"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def render(
    *,
    scenario: str,
    results: pd.DataFrame,
    curves: pd.DataFrame,
    judge: Mapping[str, Any] | None,
    users: Mapping[str, Any],
    settings: Mapping[str, Any],
    versions: Mapping[str, Any],
    notes: Sequence[str],
    stages: Sequence[Mapping[str, Any]],
    alerts: Sequence[str] = (),
    departures: Sequence[Departure] = (),
) -> str:
    """The page as HTML. Arguments as in :func:`write_report`, with the tables as data frames, of one budget."""
    by_policy = {policy: tables.comparison(results, policy) for policy in POLICIES if policy in set(results["policy"])}
    policy, main = next(iter(by_policy.items()))
    tested = tables.tested(results, policy)
    finding, *evidence = summarise(main, tested.improvement, policy)
    ids = method_order([*results["method"], *curves["method"]])
    rows = setting_rows(settings)
    return render_template(
        Path(__file__).with_name("run.html.j2"),
        scenario=scenario,
        finding=finding,
        evidence=evidence,
        notes=list(notes),
        alerts=list(alerts),
        methods=method_styles(ids),
        headlines=[headline(t, name, tested.best if name == policy else ()) for name, t in by_policy.items()],
        baseline=label(BASELINE),
        improvements=improvement_rows(tested.improvement),
        published=published_rows(main, scenario),
        published_source=SOURCE,
        protocol=_protocol(settings),
        costs=cost_rows(main),
        curve_groups=curve_groups(curves),
        one_seed=bool(main["seeds"].min() < 2),
        judge=judge_section(judge),
        users=sections.user_groups(users),
        user_figures=sections.user_figures(users),
        departures=departure_rows({scenario: departures}),
        settings=rows,
        changed=[row for row in rows if row.changed],
        versions=dict(versions),
        stages=sections.stage_rows(stages) if stages else [],
        glossary=glossary(
            ids, curves=len(curves) > 0, judge=bool(judge), user_paths=[path for path, _ in flatten(users)]
        ),
    )


def headline(table: pd.DataFrame, policy: str, best: Collection[tuple[str, str]]) -> dict[str, Any]:
    """The main table of one policy: one row per method, one group of columns per epoch.

    Args:
        table: see :func:`.tables.comparison`.
        policy: ``sampled`` or ``greedy``.
        best: (method, epoch) of the returns to print in bold.
    """
    epochs = [epoch for epoch in EPOCHS if epoch in set(table["epoch"])]
    rows = []
    for style in method_styles(table["method"]).values():
        cells = []
        for epoch in epochs:
            row = tables.cell(table, style.id, epoch)
            for index, measure in enumerate(RETURNS):
                cells.append(
                    {"first": index == 0, **_cell(row, measure, measure == "return" and (style.id, epoch) in best)}
                )
        rows.append({"method": style, "cells": cells, "main": style.id == main_method(table)})
    steps = {epoch: table.loc[table["epoch"] == epoch, "env_steps"].max() for epoch in epochs}
    return {
        "policy": _POLICY_TITLES[policy],
        "epochs": [{"name": _epoch_title(epoch), "steps": format_count(steps[epoch])} for epoch in epochs],
        "rows": rows,
        "seeds": sorted({int(n) for n in table["seeds"]}),
    }


def _cell(row: Any, measure: str, best: bool) -> dict[str, Any]:
    if row is None:
        return {"mean": "", "interval": "", "best": False}
    low, high = row[f"{measure}_low"], row[f"{measure}_high"]
    return {
        "mean": format_number(row[measure]),
        "interval": _format_interval(low, high) if np.isfinite([low, high]).all() else "",
        "best": best,
    }


def _format_interval(low: float, high: float) -> str:
    return f"{format_number(low)}{'–' if low >= 0 else ' to '}{format_number(high)}"


def _epoch_title(epoch: str) -> str:
    return "End" if epoch == "end" else f"Epoch {epoch}"


def improvement_rows(improvement: pd.DataFrame) -> list[dict[str, Any]]:
    """Each method's return against the baseline's: one row per method, one cell per epoch.

    Args:
        improvement: see :func:`.tables.improvement`.
    """
    epochs = [epoch for epoch in EPOCHS if epoch in set(improvement["epoch"])]
    rows = []
    for style in method_styles(improvement["method"]).values():
        cells = []
        for epoch in epochs:
            matches = improvement[(improvement["method"] == style.id) & (improvement["epoch"] == epoch)]
            cells.append(_difference(matches.iloc[0]) if len(matches) else {"text": ""})
            cells[-1]["epoch"] = _epoch_title(epoch)
        rows.append({"method": style, "cells": cells})
    return rows


def _difference(row: pd.Series) -> dict[str, Any]:
    sign = "+" if row["difference"] > 0 else "−" if row["difference"] < 0 else "±"
    percent = f"{sign}{abs(row['percent']):,.0f}%" if np.isfinite(row["percent"]) else ""
    return {"text": f"{sign}{format_number(abs(row['difference']))}", "percent": percent, "verdict": row["verdict"]}


def published_rows(table: pd.DataFrame, scenario: str) -> list[dict[str, Any]]:
    """Results of this run and published results, one row per published result."""
    return [
        {
            "method": method_styles([row["method"]])[row["method"]],
            "epoch": _epoch_title(row["epoch"]),
            "run": [format_number(row[measure]) for measure in RETURNS],
            "published": [format_number(row[f"published_{measure}"]) for measure in RETURNS],
        }
        for _, row in tables.published_comparison(table, scenario).iterrows()
    ]


def cost_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Environment steps, updates and time of one training run of each method, up to its last measurement."""
    rows = []
    for style in method_styles(table["method"]).values():
        last = table[table["method"] == style.id].iloc[-1]
        numbers = {name: format_count(last[name]) for name in ("env_steps", "updates", "seeds")}
        rows.append({"method": style, **numbers, "time": format_seconds(last["seconds"])})
    return rows


def curve_groups(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Groups of learning curves: return, length, coverage, diversity, pre-training, and alpha.

    A method with several points before its first environment step was pre-trained against the judge: those points are
    drawn over updates, in a group of their own.

    Returns:
        ``title`` and ``figures`` of each group that is not empty.
    """
    offline = curves[curves.groupby(["method", "seed", "series"])["env_steps"].transform("max") == 0]
    offline = offline[offline.groupby(["method", "seed", "series"])["updates"].transform("nunique") > 1]
    tested = curves.dropna(subset=["coverage", "effective_items"])
    groups = [
        _group(curves, "return", "Return R over online training"),
        _group(curves, "length", "Episode length Len over online training"),
        _group(tested, "coverage", "Coverage: fraction of the items that are recommended"),
        _group(tested, "effective_items", "Diversity: effective number of recommended items"),
        _group(offline, "return", "Return R over pre-training against the judge", over="updates"),
    ]
    alpha = figures.alpha_curve(curves)
    if alpha is not None:
        groups.append({"title": "Schedule of A-iALP_ap's mixture", "figures": [alpha]})
    return [group for group in groups if group["figures"]]


def _group(curves: pd.DataFrame, measure: str, title: str, over: str = "env_steps") -> dict[str, Any]:
    """Training and test curves of a measure. The test curves share a scale; rewards of the train world may differ."""
    test = curves.loc[curves["series"] != "train", measure]
    top = float(test.max()) if test.notna().any() else None
    charts = [
        figures.learning_curve(
            curves, series, measure, title=_SERIES_TITLES[series], over=over, top=None if series == "train" else top
        )
        for series in SERIES
        if series in set(curves["series"])
    ]
    return {"title": title, "figures": charts}


def _protocol(settings: Mapping[str, Any]) -> str:
    users = settings.get("users")
    return str(users.get("protocol", "")) if isinstance(users, Mapping) else ""
