"""The page of a ranking report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup

from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.formatting import ABSENT, format_bytes, format_seconds
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.lea import sentences
from ialp_rllib.report.lea.glossary import GLOSSARY
from ialp_rllib.report.lea.tables import KNN, MASKED, MEASURE, PLAIN, Difference, Scores, best_of
from ialp_rllib.results.ranking import BUCKETS
from ialp_rllib.stages.lea.rows import LEA_KINDS, Row

COLUMNS = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")
_READ = ("scenario", "seeds", "catalogue.", "lea.")
"""Settings that the stages of `ialp lea` read, by the beginnings of their names."""
_HEADS = {"supervised": "softmax", "q": "Q", "none": ABSENT}


def groups_of(scores: Scores, rows: Sequence[Row]) -> dict[str, list[Difference]]:
    """The comparisons of the page, in groups; p-values are corrected within each.

    ``best``: each row of LEA less the best of :data:`.BASELINES`. ``knn``: leasr of the first objective less the
    neighbour methods. ``base``: each row less its base. ``controls``: leasr of the first objective less each control.
    """
    lea, base = lea_row(rows), {row.objective: row.name for row in rows if row.kind == "base"}
    known = scores.rows
    groups: dict[str, list[Difference]] = {"best": [], "knn": [], "base": [], "controls": []}
    pairs = [(r.name, base[r.objective]) for r in rows if r.objective in base and r.kind != "base"]
    groups["base"] = scores.differences(pairs)
    best = best_of(scores, sentences.BASELINES)
    groups["best"] = scores.differences([(r.name, best) for r in rows if r.kind in LEA_KINDS] if best else [])
    if lea is None:
        return groups
    groups["knn"] = scores.differences([(lea.name, name) for name in KNN if name in known])
    kinds = sentences.CONTROLS
    controls = [r.name for r in rows if (r.kind in kinds and r.objective == lea.objective) or r.kind == "eval"]
    groups["controls"] = scores.differences([(lea.name, name) for name in controls])
    return groups


def lea_row(rows: Sequence[Row]) -> Row | None:
    """The row that is compared with controls: leasr of the first objective, chosen before any result."""
    return next((row for row in rows if row.kind == "leasr"), None)


def missing_of(scores: Scores) -> list[str]:
    """Baselines that are not among the rows."""
    return [name for name in sentences.BASELINES if name not in scores.rows]


def write_page(
    path: Path,
    *,
    scenario: str,
    scores: Scores,
    rows: Sequence[Row],
    groups: Mapping[str, Sequence[Difference]],
    popularity: np.ndarray,
    masks_seen: bool,
    facts: Mapping[str, Mapping[str, Any]],
    stages: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        path: of the file.
        scenario: name.
        scores: test cases of all rows.
        rows: of the table, in order.
        groups: of :func:`groups_of`.
        popularity: ``(I,)`` interactions in the training log.
        masks_seen: whether the rank that counts is that among unseen items.
        facts: of the stages tokens, environment, augment and recommend, as far as they ran.
        stages: ``name``, ``seconds`` and ``facts`` of each stage.
        notes: what a reader must know.
        settings: of the run, as plain data.
    """
    lea, column = lea_row(rows), MASKED if masks_seen else PLAIN
    base = [one for one in groups["base"] if lea is not None and one.row == lea.name]
    changed = [row for row in setting_rows(settings) if row.changed and row.key.startswith(_READ)]
    page = render_template(
        Path(__file__).with_name("lea.html.j2"),
        scenario=scenario,
        finding=sentences.finding(groups["best"], missing_of(scores), scores),
        evidence=[sentences.effect(base[0] if base else None), sentences.controls(groups["controls"])],
        notes=notes,
        columns=COLUMNS,
        tables=[
            _table(scores, title, which, last, column)
            for title, which, last in (
                ("All positions, seen items masked", MASKED, False),
                ("Last position, seen items masked", MASKED, True),
                ("All positions, among all items", PLAIN, False),
                ("Last position, among all items", PLAIN, True),
            )
        ],
        masked="seen items masked" if masks_seen else "among all items",
        measure=MEASURE,
        differences=[(title, _rows(groups[name])) for name, title in _GROUPS.items() if groups[name]],
        figure=_forest(scores, "item_knn" if "item_knn" in scores.rows else scores.rows[0]),
        reference=sentences.title("item_knn" if "item_knn" in scores.rows else scores.rows[0]),
        buckets=[(sentences.title(row), scores.by_bucket(scores.main(row), popularity)) for row in scores.rows],
        bucket_names=BUCKETS,
        gates=sentences.gates(facts.get("tokens", {}), facts.get("environment", {})),
        environments=_environments(facts),
        costs=[_cost(stage) for stage in stages],
        settings=changed,
        glossary=GLOSSARY.items(),
    )
    path.write_text(page, encoding="utf-8")


_GROUPS = {
    "best": "Rows of LEA less the best of item kNN, V-SKNN, GRU4Rec and SASRec",
    "knn": "LEA less the neighbour methods",
    "base": "Each row less its base",
    "controls": "LEA less its controls",
}


def _table(scores: Scores, title: str, column: str, last: bool, main: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    found = {key: scores.measures(key, column, last) for key in scores.keys}
    best = {name: max(values[name] for values in found.values()) for name in COLUMNS}
    for key, values in found.items():
        cells = [(f"{values[name]:.4f}", values[name] == best[name]) for name in COLUMNS]
        heads = sum(one[0] == key[0] for one in scores.keys)
        head = _HEADS[key[1]] if heads > 1 or key[1] != "none" else ABSENT
        rows.append(
            {"name": sentences.title(key[0]), "head": head, "cells": cells, "main": key == scores.main(key[0]),
             "seeds": scores.seeds(key[0]), "n": values["n"]}
        )  # fmt: skip
    cases = f"{int(rows[0]['n'] / rows[0]['seeds']):,}" if rows else ""
    return {"title": title, "rows": rows, "cases": cases, "counts": column == main}


def _rows(found: Sequence[Difference]) -> list[dict[str, str]]:
    def verdict(one: Difference) -> str:
        return "better" if one.better else "worse" if one.worse else "no difference shown"

    return [
        {
            "name": sentences.title(one.row),
            "reference": sentences.title(one.reference),
            "value": f"{one.value:+.4f}",
            "interval": f"{one.low:+.4f} to {one.high:+.4f}",
            "relative": f"{one.value / one.base:+.1%}" if one.base else ABSENT,
            "p": f"{one.p:.3f}",
            "verdict": verdict(one),
        }
        for one in found
    ]


def _forest(scores: Scores, reference: str) -> Markup:
    """Every row less the reference, with intervals that are not corrected for their number."""
    others = [row for row in scores.rows if row != reference]
    found = scores.differences([(row, reference) for row in others])
    with matplotlib.rc_context({**svg.STYLE, "axes.grid.axis": "x"}):
        size = (6.4, 0.6 + 0.24 * len(found))
        figure, axes = svg.new_figure("", f"{MEASURE} less that of {sentences.title(reference)}", "", size)
        for place, one in enumerate(found):
            colour = svg.BLUE if one.low > 0 else svg.ORANGE if one.high < 0 else svg.GREY
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.4)
            axes.plot([one.value], [place], "o", color=colour, markersize=4.5)
        axes.axvline(0, color=svg.INK, linewidth=0.8)
        axes.set_yticks(range(len(found)), [sentences.title(one.row) for one in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        return svg.to_markup(figure, "forest", f"{MEASURE} of every row less that of {reference}")


def _environments(facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    names = {"llm": "LLM", "llm_free": "without an LLM, of equal size"}
    for name, title in names.items():
        learnt, said = facts.get("environment", {}).get(name), facts.get("augment", {}).get(name)
        if learnt is None or said is None:
            continue
        quality = learnt["quality"]
        rows.append(
            {
                "name": title,
                "trainable": f"{learnt['trainable']:,}",
                "users": f"{learnt['users']:,}",
                "state": f"{quality['state'][MEASURE]:.4f}",
                "uniform": f"{quality['right_uniform']:.3f}",
                "popular": f"{quality['right_popular']:.3f}",
                "buckets": _by_bucket(quality["right_by_bucket"]),
                "errors": " / ".join(f"{quality[f'calibration_{k}']['error']:.3f}" for k in ("uniform", "popular")),
                "calibration": [
                    {"kind": kind, "groups": list(zip(found["said"], found["right"], strict=True))}
                    for kind in ("uniform", "popular")
                    for found in (quality[f"calibration_{kind}"],)
                ],
                "reward_buckets": _by_bucket(said["reward_by_bucket"]),
                "others": _quantiles(said["reward_quantiles_others"]),
                "own": _quantiles(said["reward_quantiles_learnt_from"]),
                "kept": f"{learnt['kept_pass']} of {len(learnt['held_out_loss']) or ABSENT}",
                "rewards": _quantiles(said["reward_quantiles"]),
                "coverage": f"{said['action_coverage']:.0%}",
            }
        )
    return rows


def _by_bucket(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _quantiles(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values) or ABSENT


def _cost(stage: Mapping[str, Any]) -> dict[str, str]:
    facts = stage["facts"]
    parts = [part for part in facts.values() if isinstance(part, dict) and "cpu_minutes" in part]
    minutes = sum(part["cpu_minutes"] for part in parts) if parts else facts.get("cpu_minutes")
    peak = max((part["peak_bytes"] for part in parts), default=facts.get("peak_bytes"))
    return {
        "name": str(stage["name"]),
        "time": format_seconds(stage["seconds"]),
        "cpu": ABSENT if minutes is None else f"{minutes:.1f} min",
        "memory": format_bytes(peak),
    }
