"""What a varied setting changes: each method's return under each value, and which value is the best one for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup

from ialp_rllib.compare.estimates import SUFFIXES, point_estimate, score_pair, verdicts
from ialp_rllib.compare.page.figures import EPOCH_WORDS
from ialp_rllib.compare.tables import format_estimate, format_interval
from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.formatting import ABSENT, format_number
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import EPOCHS, POLICIES
from ialp_rllib.results.statistics import BETTER, WORSE

TITLE = "What was varied"
Variants = Mapping[str, tuple[str, str]]
"""Name of a varied scenario -> the scenario, and what sets this variant apart, in words."""


def varied_table(results: pd.DataFrame, variants: Variants, cross_validated: bool = False) -> pd.DataFrame:
    """Each method's return under each variant, against the best of its other variants.

    The best of the others is the one with the highest interquartile mean there: of many that are alike it is above
    their common mean by chance, to its favour.

    Args:
        results: rows of ``results``.
        cross_validated: whether the comparison is cross-validated, see :func:`.estimates.summary`.

    Returns:
        Columns ``scenario`` (the plain one), ``policy``, ``epoch``, ``method``, ``variant``, ``seeds``, ``return`` and
        ``difference`` with ``_low`` and ``_high``, ``against`` (the best other variant) and ``verdict``. A method that
        has the same runs in all variants has no rows.
    """
    here = results[results["scenario"].isin(variants)]
    cells: dict[tuple[str, str, str, str], dict[str, pd.DataFrame]] = {}
    for name, runs in here.groupby("scenario", sort=False):
        base, words = variants[str(name)]
        for (policy, epoch, method), part in runs.groupby(["policy", "epoch", "method"]):
            scores = part.sort_values("seed").set_index("seed")[["return"]].astype(float)
            cells.setdefault((base, str(policy), str(epoch), str(method)), {})[words] = scores
    rows, pairs, own = [], [], []
    for key in _in_order(cells):
        by = cells[key]
        if len(by) < 2 or _all_alike(list(by.values())):
            continue
        for words, scores in by.items():
            others = {w: s for w, s in by.items() if w != words}
            best = max(others, key=lambda w: _finite(point_estimate(others[w], cross_validated)))
            pairs.append(score_pair(scores, others[best], cross_validated))
            own.append(scores.to_numpy())
            rows.append((*key, words, len(scores), best))
    names = ["scenario", "policy", "epoch", "method", "variant", "seeds", "against"]
    table = pd.DataFrame(rows, columns=names)
    flags = [cross_validated] * len(rows)
    levels = pd.DataFrame(statistics.estimates(own, flags).reshape(-1, 3), columns=[f"return{end}" for end in SUFFIXES])
    apart = statistics.contrasts(pairs, flags).reshape(len(rows), 3, 3)[:, 0]
    table = pd.concat([table, levels, pd.DataFrame(apart, columns=[f"difference{end}" for end in SUFFIXES])], axis=1)
    table["verdict"] = verdicts(table, "difference", 0.0)
    return table


def _in_order(cells: Mapping[tuple[str, str, str, str], Any]) -> list[tuple[str, str, str, str]]:
    scenarios = list(dict.fromkeys(key[0] for key in cells))
    ids = list(method_styles(key[3] for key in cells))
    order = [(s, p, e, m) for s in scenarios for p in POLICIES for e in EPOCHS for m in ids]
    return [key for key in order if key in cells]


def _all_alike(scores: list[pd.DataFrame]) -> bool:
    return all(s.shape == scores[0].shape and np.array_equal(s, scores[0]) for s in scores)


def _finite(level: float) -> float:
    return level if np.isfinite(level) else -np.inf


def varied_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text, one policy."""
    head = ["Scenario", "Method", "Epoch", "Variant", "R", "Against the best other", "Difference", "Verdict"]
    rows = [
        [
            row["scenario"],
            label(row["method"]),
            row["epoch"],
            row["variant"],
            format_estimate(row, "return"),
            row["against"],
            f"{_signed(row['difference'])} {format_interval(row['difference_low'], row['difference_high'])}".strip(),
            row["verdict"],
        ]
        for _, row in table.iterrows()
    ]
    return head, rows


def _signed(value: float) -> str:
    return f"{value:+.3g}" if np.isfinite(value) else ABSENT


def groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """One group of rows per scenario and epoch, for the page."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, row in table[table["policy"] == policy].iterrows():
        found.setdefault(f"{row['scenario']}, epoch {row['epoch']}", []).append(
            {
                "method": method_styles([row["method"]])[row["method"]],
                "variant": row["variant"],
                "level": format_number(row["return"]),
                "ends": format_interval(row["return_low"], row["return_high"]),
                "against": row["against"],
                "difference": _signed(row["difference"]),
                "interval": format_interval(row["difference_low"], row["difference_high"]),
                "verdict": row["verdict"],
                "sure": row["verdict"] in (BETTER, WORSE),
            }
        )
    return [{"name": name, "rows": rows} for name, rows in found.items()]


def varied_figures(summary: pd.DataFrame, variants: Variants, policy: str) -> dict[str, dict[str, Markup]]:
    """Scenario -> file name -> figure: the returns at epoch 1 and at the end under each variant."""
    found: dict[str, dict[str, Markup]] = {}
    for number, base in enumerate(dict.fromkeys(base for base, _ in variants.values())):
        names = {name: words for name, (of, words) in variants.items() if of == base}
        for epoch in ("0", "1", "end"):
            rows = summary[(summary["policy"] == policy) & (summary["epoch"] == epoch)]
            rows = rows[rows["scenario"].isin(names)]
            if len(rows):
                drawing = _figure(rows, names, f"{EPOCH_WORDS[epoch]}, {policy}", f"v{number}-{epoch}")
                found.setdefault(base, {})[f"varied-{number}-epoch-{epoch}"] = drawing
    return found


def _figure(rows: pd.DataFrame, names: Mapping[str, str], title: str, prefix: str) -> Markup:
    places = {name: place for place, name in enumerate(names)}
    known = method_styles(rows["method"])
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.empty(title, "", "Return")
        figure.set_size_inches(4.3, 3.3)
        for index, method in enumerate(known.values()):
            mine = rows[rows["method"] == method.id]
            x = np.array([places[name] for name in mine["scenario"]]) + 0.06 * (index - (len(known) - 1) / 2)
            for place, (_, row) in zip(x, mine.iterrows(), strict=True):
                ends = [row["return_low"], row["return_high"]]
                if np.isfinite(ends).all():
                    axes.plot([place, place], ends, color=method.colour, linewidth=3, alpha=0.35)
            style = (0, method.dash) if method.dash else "-"
            axes.plot(x, mine["return"], "o", color=method.colour, markersize=3.5, linestyle=style, linewidth=1.2)
        axes.set_xticks(range(len(names)), [_short(words) for words in names.values()])
        axes.tick_params(axis="x", labelrotation=90 if len(names) > 5 else 30)
        words = f"{title}: returns of {', '.join(m.label for m in known.values())} under {', '.join(names.values())}"
        return svg.markup(figure, prefix, words)


def _short(words: str) -> str:
    """The values alone; the settings' names stand in the table."""
    return ", ".join(part.rpartition("=")[2] for part in words.split(", "))
