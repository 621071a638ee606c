"""The report: two Parquet tables and one self-contained page."""

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
from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.glossary import glossary
from ialp_rllib.report.kit.names import BASELINE, label, method_styles
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.run import sections, tables
from ialp_rllib.report.run.summary import main_method, summarise
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import SOURCE
from ialp_rllib.results.schemas import EPOCHS, POLICIES, SERIES, check_curves, check_results
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)

_POLICY_WORDS = {"sampled": "sampled policy", "greedy": "greedy policy"}
_SERIES_WORDS = {"train": "Training", "test_sampled": "Test, sampled", "test_greedy": "Test, greedy"}


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
) -> Path:
    """Write ``results.parquet``, ``curves.parquet`` and ``index.html`` into ``folder``.

    Args:
        folder: is made if it does not exist; files of an earlier report in it are replaced.
        scenario: name of the scenario.
        results: in the schema :data:`.schemas.RESULTS`.
        curves: in the schema :data:`.schemas.CURVES`; may be empty.
        judge: the judge's audit, or ``None`` where no judge was asked.
        users: numbers on the simulated users; nested groups are welcome.
        settings: of the run, as :func:`ialp_rllib.settings.to_dict` gives them.
        versions: name of a component -> version.
        notes: what a reader must know to read the figures rightly; shown at the top.
        stages: of each stage ``name``, ``seconds``, ``bytes`` and ``reused``.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: a table does not fit its schema, or the folder cannot be written to. Nothing is written then, or
            whole files only.
    """
    results, curves = check_results(results), check_curves(curves)
    page = render(
        scenario=scenario,
        results=results.to_pandas(),
        curves=curves.to_pandas(),
        judge=judge,
        users=users,
        settings=settings,
        versions=versions,
        notes=notes,
        stages=stages,
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
) -> str:
    """The page as text. Arguments as in :func:`write_report`, the tables as data frames."""
    by_policy = {policy: tables.comparison(results, policy) for policy in POLICIES if policy in set(results["policy"])}
    policy, main = next(iter(by_policy.items()))
    better = tables.improvement(results, policy)
    finding, *evidence = summarise(main, better, policy)
    ids = list(method_styles([*results["method"], *curves["method"]]))
    rows = setting_rows(settings)
    return render_template(
        Path(__file__).with_name("run.html.j2"),
        scenario=scenario,
        finding=finding,
        evidence=evidence,
        notes=list(notes),
        methods=method_styles(ids),
        headlines=[headline(table, name, tables.best_cells(results, name)) for name, table in by_policy.items()],
        baseline=label(BASELINE),
        improvements=improvement_rows(better),
        published=published_rows(main, scenario),
        published_source=SOURCE,
        protocol=_protocol(settings),
        costs=cost_rows(main),
        drawings=curve_drawings(curves),
        one_seed=bool(main["seeds"].min() < 2),
        judge=judge_section(judge),
        users=sections.user_groups(users),
        user_drawings=sections.user_drawings(users),
        settings=rows,
        changed=[row for row in rows if row.changed],
        versions=dict(versions),
        stages=sections.stage_rows(stages) if stages else [],
        glossary=glossary(
            ids, curves=len(curves) > 0, judge=bool(judge), user_paths=[path for path, _ in sections.flatten(users)]
        ),
    )


def headline(table: pd.DataFrame, policy: str, best: Collection[tuple[str, str, str]]) -> dict[str, Any]:
    """The headline table of one policy: epochs across, methods down, each cell a mean and its interval."""
    epochs = [epoch for epoch in EPOCHS if epoch in set(table["epoch"])]
    rows = []
    for method in method_styles(table["method"]).values():
        cells = []
        for epoch in epochs:
            row = tables.cell(table, method.id, epoch)
            for index, measure in enumerate(RETURNS):
                cells.append({"first": index == 0, **_cell(row, measure, (method.id, epoch, measure) in best)})
        rows.append({"method": method, "cells": cells, "lead": method.id == main_method(table)})
    steps = {epoch: table.loc[table["epoch"] == epoch, "env_steps"].max() for epoch in epochs}
    return {
        "policy": _POLICY_WORDS[policy],
        "epochs": [{"name": _epoch_words(epoch), "steps": format_count(steps[epoch])} for epoch in epochs],
        "rows": rows,
        "seeds": sorted({int(n) for n in table["seeds"]}),
    }


def _cell(row: Any, measure: str, best: bool) -> dict[str, Any]:
    if row is None:
        return {"mean": "", "interval": "", "best": False}
    low, high = row[f"{measure}_low"], row[f"{measure}_high"]
    return {
        "mean": format_number(row[measure]),
        "interval": _range(low, high) if np.isfinite([low, high]).all() else "",
        "best": best,
    }


def _range(low: float, high: float) -> str:
    return f"{format_number(low)}{'–' if low >= 0 else ' to '}{format_number(high)}"


def _epoch_words(epoch: str) -> str:
    return "End" if epoch == "end" else f"Epoch {epoch}"


def improvement_rows(better: pd.DataFrame) -> list[dict[str, Any]]:
    """Each method's return against the baseline's: a row per method, a cell per epoch that both were measured at."""
    epochs = [epoch for epoch in EPOCHS if epoch in set(better["epoch"])]
    rows = []
    for method in method_styles(better["method"]).values():
        cells = []
        for epoch in epochs:
            found = better[(better["method"] == method.id) & (better["epoch"] == epoch)]
            cells.append(_difference(found.iloc[0]) if len(found) else {"text": ""})
            cells[-1]["epoch"] = _epoch_words(epoch)
        rows.append({"method": method, "cells": cells})
    return rows


def _difference(row: pd.Series) -> dict[str, Any]:
    sign = "+" if row["difference"] > 0 else "−" if row["difference"] < 0 else "±"
    percent = f"{sign}{abs(row['percent']):,.0f}%" if np.isfinite(row["percent"]) else ""
    return {"text": f"{sign}{format_number(abs(row['difference']))}", "percent": percent, "verdict": row["verdict"]}


def published_rows(table: pd.DataFrame, scenario: str) -> list[dict[str, Any]]:
    """Ours and the published figures, one row per published cell."""
    return [
        {
            "method": method_styles([row["method"]])[row["method"]],
            "epoch": _epoch_words(row["epoch"]),
            "ours": [format_number(row[measure]) for measure in RETURNS],
            "theirs": [format_number(row[f"published_{measure}"]) for measure in RETURNS],
        }
        for _, row in tables.published_comparison(table, scenario).iterrows()
    ]


def cost_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What one run of each method cost, up to its last measurement."""
    rows = []
    for method in method_styles(table["method"]).values():
        last = table[table["method"] == method.id].iloc[-1]
        numbers = {name: format_count(last[name]) for name in ("env_steps", "updates", "seeds")}
        rows.append({"method": method, **numbers, "time": sections.format_seconds(last["seconds"])})
    return rows


def curve_drawings(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Groups of figures: return and length over training (train and test), what is recommended (test), the mixture's
    weight, and pre-training.

    Where a method has several points before its first environment step, it was learning from the judge: those points
    are drawn over updates, apart from the others.
    """
    offline = curves[curves.groupby(["method", "seed", "series"])["env_steps"].transform("max") == 0]
    offline = offline[offline.groupby(["method", "seed", "series"])["updates"].transform("nunique") > 1]
    tested = curves.dropna(subset=["coverage", "effective_items"])
    groups = [
        _group(curves, "return", "Return R over online training"),
        _group(curves, "length", "Length Len over online training"),
        _group(tested, "coverage", "Coverage: share of the items that are recommended at all"),
        _group(tested, "effective_items", "Diversity: effective number of recommended items"),
        _group(offline, "return", "Return R while pre-training against the judge", over="updates"),
    ]
    alpha = figures.alpha_curve(curves)
    if alpha is not None:
        groups.append({"title": "How fast A-iALP_ap hands over", "figures": [alpha]})
    return [group for group in groups if group["figures"]]


def _group(curves: pd.DataFrame, measure: str, title: str, over: str = "env_steps") -> dict[str, Any]:
    test = curves.loc[curves["series"] != "train", measure]
    top = (
        float(test.max()) if test.notna().any() else None
    )  # both test figures share a scale; the train world has its own
    drawn = [
        figures.learning_curve(
            curves, series, measure, title=_SERIES_WORDS[series], over=over, top=None if series == "train" else top
        )
        for series in SERIES
        if series in set(curves["series"])
    ]
    return {"title": title, "figures": drawn}


def _protocol(settings: Mapping[str, Any]) -> str:
    users = settings.get("users")
    return str(users.get("protocol", "")) if isinstance(users, Mapping) else ""
