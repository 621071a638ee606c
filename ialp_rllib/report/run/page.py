"""The report of a run: two Parquet tables and one self-contained HTML page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.errors import storage_errors
from ialp_rllib.report.audit.section import judge_section
from ialp_rllib.report.kit.departures import departure_rows
from ialp_rllib.report.kit.formatting import flatten
from ialp_rllib.report.kit.glossary import glossary
from ialp_rllib.report.kit.names import method_order, method_styles, titles_of
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.run import returns, sections, tables
from ialp_rllib.report.run.data import data_section, data_sentence
from ialp_rllib.report.run.examples import Examples
from ialp_rllib.report.run.learning import curve_groups
from ialp_rllib.report.run.summary import summarise
from ialp_rllib.results.published import SOURCE
from ialp_rllib.results.schemas import check_curves, check_results, of_budget
from ialp_rllib.settings import Departure
from ialp_rllib.storage import write_atomic, write_text

log = logging.getLogger(__name__)

_ORDER = ("greedy", "sampled")  # of the tables: sampled at 1 measures above all how collapsed a policy is


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
    data: Mapping[str, Any] | None = None,
    examples: Examples | None = None,
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
        data: facts on the catalogue, of stage ``prepare``.
        examples: sessions and answers of the judge, in words.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: a table does not conform to its schema, or the folder cannot be written to. No partial file is left.
    """
    results, curves = check_results(results), check_curves(curves)
    with titles_of({scenario: settings}):
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
            alerts=alerts,
            departures=departures,
            data=data,
            examples=examples,
        )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "results.parquet", lambda path: pq.write_table(results, path))
    write_atomic(folder / "curves.parquet", lambda path: pq.write_table(curves, path))
    write_text(folder / "index.html", page)
    log.info("report: %s", folder / "index.html")
    return folder / "index.html"


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
    data: Mapping[str, Any] | None = None,
    examples: Examples | None = None,
) -> str:
    """The page as HTML. Arguments as in :func:`write_report`, with the tables as data frames."""
    every_budget, results, curves = results, of_budget(results), of_budget(curves)
    by_policy = {policy: tables.comparison(results, policy) for policy in _ORDER if policy in set(results["policy"])}
    policy, main = next(iter(by_policy.items()))
    tested = tables.tested(results, policy, _whole_log(settings))
    world = "validation" if _setting(settings, "evaluate", "world", "test") == "valid" else "test"
    finding, *evidence = summarise(main, tested.against, policy, world)
    ids = method_order([*results["method"], *curves["method"]])
    rows = setting_rows(settings)
    examples, weeks = examples or Examples([], []), sections.weeks_section(results, curves)
    return render_template(
        Path(__file__).with_name("run.html.j2"),
        scenario=scenario,
        finding=finding,
        world=world,
        evidence=[*evidence, data_sentence(data or {})],
        notes=list(notes),
        alerts=list(alerts),
        methods=method_styles(ids),
        headlines=[returns.headline(t, name, tested.best if name == policy else ()) for name, t in by_policy.items()],
        against=returns.against_rows(tested.against),
        whole_log=_whole_log(settings),
        personal=returns.personal_rows(tables.personalisation(main)),
        ratios=returns.ratio_rows(tables.published_ratios(every_budget, policy, scenario)),
        published=returns.published_rows(main, scenario),
        published_source=SOURCE,
        protocol=_setting(settings, "users", "protocol", ""),
        costs=returns.cost_rows(main),
        weeks=weeks,
        examples=examples,
        curve_groups=curve_groups(curves),
        one_seed=bool(main["seeds"].min() < 2),
        data=data_section(data or {}, users, _group(settings, "users")),
        judge=judge_section(judge),
        users=sections.user_groups(users),
        user_figures=sections.user_figures(users),
        departures=departure_rows({scenario: departures}),
        settings=rows,
        changed=[row for row in rows if row.changed],
        versions=dict(versions),
        stages=sections.stage_rows(stages) if stages else [],
        glossary=glossary(
            ids,
            curves=len(curves) > 0,
            judge=bool(judge),
            user_paths=[path for path, _ in flatten(users)],
            weeks=weeks is not None,
        ),
    )


def _whole_log(settings: Mapping[str, Any]) -> bool:
    """Whether agents see the whole log of the train users."""
    return _setting(settings, "catalogue", "log_users", -1) == -1 and not _setting(
        settings, "catalogue", "cold_items", 0
    )


def _setting(settings: Mapping[str, Any], group: str, name: str, default: Any) -> Any:
    return _group(settings, group).get(name, default)


def _group(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    values = settings.get(name)
    return values if isinstance(values, Mapping) else {}
