"""Equal samples and equal updates: the returns of the first epochs with both budgets, and the published kind of ratio.

The publication's "50,000 steps" are updates. With one update per batch of environments, baselines have seen 25 of them
after an epoch of 1,000 steps, and a ratio to them says little beside the published one. So both are measured: *equal
samples* (updates per environment step as ``agent.updates_per_step`` says) and *equal updates* (one per environment
step).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.compare.estimates import GROUP, SUFFIXES, against_best
from ialp_rllib.compare.tables import budget_ratio, format_estimate
from ialp_rllib.report.kit.formatting import format_count
from ialp_rllib.report.kit.names import label
from ialp_rllib.report.kit.references import untrained
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import BUDGETS

TITLE = "Equal samples and equal updates"


def budget_table(results: pd.DataFrame, users_vary: bool = True) -> pd.DataFrame:
    """Return, updates and the published kind of ratio with each budget.

    Args:
        results: rows of ``results`` of all budgets.
        users_vary: whether every seed is tested on other users.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method`` and, for each budget B of :data:`BUDGETS`, ``B_return``
        and ``B_ratio`` with ``_low`` and ``_high``, ``B_updates`` (mean number), and ``B_baseline``: the best untrained
        baseline, by which the return is divided. A method that does not learn has the same return with both; one that
        uses each transition once (PG) has none with equal updates.
    """
    table = results[GROUP].drop_duplicates().reset_index(drop=True)
    whole = results[results["budget"] == BUDGETS[0]]
    for budget in BUDGETS:
        rows = results[results["budget"] == budget]
        if budget != BUDGETS[0] and len(rows):
            measured = rows[["scenario", "epoch"]].drop_duplicates()
            still = [name for name in set(whole["method"]) if name in METHODS and not METHODS[name].learns]
            fixed = whole[whole["method"].isin(still)].merge(measured, on=["scenario", "epoch"])
            rows = pd.concat([rows, fixed], ignore_index=True)
        table = table.merge(_one(rows, budget, users_vary), on=GROUP, how="left")
    names = [f"{budget}_baseline" for budget in BUDGETS]
    table[names] = table[names].fillna("")
    return table


def _one(rows: pd.DataFrame, budget: str, users_vary: bool) -> pd.DataFrame:
    cells = {key: runs.sort_values("seed") for key, runs in rows.groupby(GROUP)}
    returns = statistics.estimates([runs["return"].to_numpy(float) for runs in cells.values()])
    updates = [float(runs["updates"].mean()) for runs in cells.values()]
    table = pd.DataFrame(list(cells), columns=GROUP)
    table[[f"{budget}_return{suffix}" for suffix in SUFFIXES]] = returns
    table[f"{budget}_updates"] = updates
    contrasts = against_best(rows, users_vary, among=untrained(rows["method"]))
    ratios = contrasts[[*GROUP, "reference", *(f"ratio{suffix}" for suffix in SUFFIXES)]]
    names = {"reference": f"{budget}_baseline"} | {f"ratio{s}": f"{budget}_ratio{s}" for s in SUFFIXES}
    return table.merge(ratios.rename(columns=names), on=GROUP, how="left")


def both(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of learning methods that were measured with both budgets after the start."""
    return table[np.isfinite(table["updates_return"]) & (table["updates_updates"] > 0)]


def budget_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`both` for one policy."""
    head = ["Scenario", "Epoch", "Method"]
    for name in ("equal samples", "equal updates"):
        head += [f"R, {name}", "Updates", f"R / best untrained, {name}"]
    rows = []
    for _, row in table.iterrows():
        cells = [row["scenario"], row["epoch"], label(row["method"], row["scenario"])]
        for budget in BUDGETS:
            cells += [format_estimate(row, f"{budget}_return"), format_count(row[f"{budget}_updates"])]
            cells.append(budget_ratio(row, budget))
        rows.append(cells)
    return head, rows
