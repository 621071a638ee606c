"""Effect of a varied setting: each method's return with each value, and contrasts between the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup

from ialp_rllib.compare.estimates import SUFFIXES, contrast_columns, pair
from ialp_rllib.compare.page.figures import EPOCH_TITLES
from ialp_rllib.compare.tables import format_estimate, format_interval
from ialp_rllib.report.kit import svg
from ialp_rllib.report.kit.formatting import ABSENT, format_number
from ialp_rllib.report.kit.names import label, method_order, method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import EPOCHS, POLICIES
from ialp_rllib.results.statistics import BETTER, WORSE

TITLE = "Varied settings"
Variants = Mapping[str, tuple[str, str]]
"""Name of a varied scenario -> (scenario, label of the variant)."""


def varied_table(results: pd.DataFrame, variants: Variants, users_vary: bool = True) -> pd.DataFrame:
    """Each method's return with each variant, and its contrast with the best of the other variants.

    The best of the others is the one with the highest mean; p-values are corrected for its selection as in
    :func:`.estimates.against_best`.

    Args:
        results: rows of ``results``.
        variants: the varied scenarios.
        users_vary: whether every seed is tested on other users.

    Returns:
        Columns ``scenario`` (without the variant), ``policy``, ``epoch``, ``method``, ``variant``, ``seeds``,
        ``against`` (the best other variant), ``return``, ``difference`` and ``ratio`` with ``_low`` and ``_high``,
        ``probability`` and ``p``.
        A method whose results are equal in all variants has no rows.
    """
    part = results[results["scenario"].isin(variants)]
    cells: dict[tuple[str, str, str, str], dict[str, pd.Series]] = {}
    for name, runs in part.groupby("scenario", sort=False):
        base, variant = variants[str(name)]
        for (policy, epoch, method), cell in runs.groupby(["policy", "epoch", "method"]):
            scores = cell.sort_values("seed").set_index("seed")["return"].astype(float)
            cells.setdefault((base, str(policy), str(epoch), str(method)), {})[variant] = scores
    rows, pairs, own, choices = [], [], [], []
    for key in _in_order(cells):
        by_variant = cells[key]
        if len(by_variant) < 2 or _all_equal(list(by_variant.values())):
            continue
        for variant, scores in by_variant.items():
            others = {v: s for v, s in by_variant.items() if v != variant}
            best = max(others, key=lambda v: _finite(others[v].to_numpy().mean()))
            pairs.append(pair(scores, others[best], users_vary))
            choices.append(len(others))
            own.append(scores.to_numpy())
            rows.append((*key, variant, len(scores), best))
    names = ["scenario", "policy", "epoch", "method", "variant", "seeds", "against"]
    table = pd.DataFrame(rows, columns=names)
    returns = statistics.estimates(own)
    for index, suffix in enumerate(SUFFIXES):
        table[f"return{suffix}"] = returns[:, index]
    return contrast_columns(table, pairs, users_vary, choices)


def _in_order(cells: Mapping[tuple[str, str, str, str], Any]) -> list[tuple[str, str, str, str]]:
    scenarios = list(dict.fromkeys(key[0] for key in cells))
    ids = method_order(key[3] for key in cells)
    order = [(s, p, e, m) for s in scenarios for p in POLICIES for e in EPOCHS for m in ids]
    return [key for key in order if key in cells]


def _all_equal(scores: list[pd.Series]) -> bool:
    return all(s.shape == scores[0].shape and np.array_equal(s, scores[0]) for s in scores)


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -np.inf


def varied_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`varied_table` for one policy."""
    head = ["Scenario", "Method", "Epoch", "Variant", "R", "Best other variant", "Difference", "Verdict"]
    rows = [
        [
            row["scenario"],
            label(row["method"], _run(row)),
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


def _run(row: pd.Series) -> str:
    """Name of the varied scenario that a row is of."""
    return f"{row['scenario']}, {row['variant']}"


def _signed(value: float) -> str:
    return f"{value:+.3g}" if np.isfinite(value) else ABSENT


def groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`varied_table` for the page, grouped by scenario and epoch."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for _, row in table[table["policy"] == policy].iterrows():
        by_name.setdefault(f"{row['scenario']}, epoch {row['epoch']}", []).append(
            {
                "method": method_styles([row["method"]], _run(row))[row["method"]],
                "variant": row["variant"],
                "return": format_number(row["return"]),
                "return_interval": format_interval(row["return_low"], row["return_high"]),
                "against": row["against"],
                "difference": _signed(row["difference"]),
                "interval": format_interval(row["difference_low"], row["difference_high"]),
                "verdict": row["verdict"],
                "conclusive": row["verdict"] in (BETTER, WORSE),
            }
        )
    return [{"name": name, "rows": rows} for name, rows in by_name.items()]


def varied_figures(summary: pd.DataFrame, variants: Variants, policy: str) -> dict[str, dict[str, Markup]]:
    """Return of each method with each variant at epochs 0 and 1 and at the end.

    Args:
        summary: see :func:`.estimates.summary`.
        variants: the varied scenarios.
        policy: ``sampled`` or ``greedy``.

    Returns:
        Scenario -> file name -> figure.
    """
    figures: dict[str, dict[str, Markup]] = {}
    for number, base in enumerate(dict.fromkeys(base for base, _ in variants.values())):
        labels = {name: variant for name, (scenario, variant) in variants.items() if scenario == base}
        for epoch in ("0", "1", "end"):
            rows = summary[(summary["policy"] == policy) & (summary["epoch"] == epoch)]
            rows = rows[rows["scenario"].isin(labels)]
            if len(rows):
                figure = _figure(rows, labels, f"{EPOCH_TITLES[epoch]}, {policy}", f"v{number}-{epoch}")
                figures.setdefault(base, {})[f"varied-{number}-epoch-{epoch}"] = figure
    return figures


def _figure(rows: pd.DataFrame, labels: Mapping[str, str], title: str, prefix: str) -> Markup:
    """One line per method over the variants; ``labels``: name of a varied scenario -> label of the variant."""
    positions = {name: position for position, name in enumerate(labels)}
    styles = method_styles(rows["method"])
    with matplotlib.rc_context(svg.STYLE):
        figure, axes = svg.new_figure(title, "", "Return")
        figure.set_size_inches(4.3, 3.3)
        for index, style in enumerate(styles.values()):
            part = rows[rows["method"] == style.id]
            x = np.array([positions[name] for name in part["scenario"]]) + 0.06 * (index - (len(styles) - 1) / 2)
            for position, (_, row) in zip(x, part.iterrows(), strict=True):
                interval = [row["return_low"], row["return_high"]]
                if np.isfinite(interval).all():
                    axes.plot([position, position], interval, color=style.colour, linewidth=3, alpha=0.35)
            dash = (0, style.dash) if style.dash else "-"
            axes.plot(x, part["return"], "o", color=style.colour, markersize=3.5, linestyle=dash, linewidth=1.2)
        axes.set_xticks(range(len(labels)), [_values_only(text) for text in labels.values()])
        axes.tick_params(axis="x", labelrotation=90 if len(labels) > 5 else 30)
        methods = ", ".join(style.label for style in styles.values())
        return svg.to_markup(figure, prefix, f"{title}: returns of {methods} with {', '.join(labels.values())}")


def _values_only(label: str) -> str:
    """The label of a variant without the names of the settings."""
    return ", ".join(part.rpartition("=")[2] for part in label.split(", "))
