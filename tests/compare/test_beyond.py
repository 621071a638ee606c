"""Forgetting on hand-made curves, and the table of coverage, diversity and forgetting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.compare.beyond import beyond_table, beyond_text
from ialp_rllib.compare.forgetting import COLUMNS, forgetting, forgetting_by_run
from ialp_rllib.compare.personal import personal_table, personal_text
from tests.report.made_up import curves_table, point, result
from tests.report.made_up import results_table as rows_table


def curve(values: list[float], method: str = "aialp_ft", seed: int = 0, series: str = "test_sampled") -> pd.DataFrame:
    """A curve with a measurement every 1,000 steps, from step 0 on."""
    return curves_table([point(method, seed, 1000 * i, float(v), series) for i, v in enumerate(values)]).to_pandas()


@pytest.mark.parametrize(
    ("values", "drop", "recovery"),
    [
        ([10, 11, 12], 0.0, 0.0),
        ([10, 10, 10], 0.0, 0.0),
        ([10, 8, 9, 10, 12], 0.2, 3000.0),
        ([10, 12, 5, 11, 9, 10, 20], 0.5, 5000.0),  # recovered at 3,000, but not lastingly
        ([10, 8, 12, 9], 0.2, np.nan),  # below at the end
        ([10, -5], 1.5, np.nan),
        ([10], np.nan, np.nan),
        ([0, 5], np.nan, np.nan),
        ([-1, 5], np.nan, np.nan),
        ([10, np.nan, 12], np.nan, np.nan),
    ],
)
def test_forgetting_by_hand(values, drop, recovery):
    shuffled = curve(values).sample(frac=1, random_state=0)
    assert forgetting(shuffled) == pytest.approx((drop, recovery), nan_ok=True)


def test_forgetting_needs_step_0_and_uses_one_point_per_step():
    assert np.isnan(forgetting(curve([10, 8, 12]).iloc[1:])).all()
    twice = pd.concat([curve([10, 8, 12]), curve([10, 8, 12])])
    assert forgetting(twice) == (pytest.approx(0.2), 2000.0)


def test_only_pretrained_methods_that_learn_can_forget():
    parts = [curve([10, 5, 10], name) for name in ("a2c", "aialp_ft", "aialp_ap", "dqn", "unknown_plugin")]
    parts += [curve([10], "ialp"), curve([10, 2], "aialp_ft", series="train"), curve([20, 5], series="test_greedy")]
    table = forgetting_by_run(pd.concat(parts))
    assert table[["policy", "method", "forgetting"]].values.tolist() == [
        ["greedy", "aialp_ft", 0.75],
        ["sampled", "aialp_ft", 0.5],
        ["sampled", "aialp_ap", 0.5],
    ]
    assert list(forgetting_by_run(curve([1, 2], "a2c")).columns) == list(COLUMNS)


def results(methods: tuple[str, ...], seeds: int, **more: float) -> pd.DataFrame:
    rows = [
        result(name, seed, epoch, 10.0, coverage=0.1 * (seed + 1), effective_items=5.0 if epoch == "0" else 3.0, **more)
        for name in methods
        for seed in range(seeds)
        for epoch in ("0", "end")
    ]
    return rows_table(rows).to_pandas()


def test_the_table_by_hand():
    curves = pd.concat([curve([10, 8, 10], seed=0), curve([10, 6, 7, 10], seed=1), curve([10, 10], seed=2)])
    table = beyond_table(results(("a2c", "aialp_ft"), 3), curves).set_index("method")
    assert table.loc["aialp_ft", "forgetting"] == pytest.approx(0.2)  # of 0.2, 0.4, 0
    half = 4.3027 * 0.2 / np.sqrt(3)
    assert table.loc["aialp_ft", "forgetting_high"] == pytest.approx(0.2 + half, abs=1e-4)
    assert table.loc["aialp_ft", "steps_back"] == pytest.approx(5000 / 3)  # of 2,000, 3,000, 0
    assert table["coverage_0"].tolist() == pytest.approx([0.2, 0.2])
    assert table.loc["a2c", ["followed", "back"]].tolist() == [0, 0] and np.isnan(table.loc["a2c", "forgetting"])
    head, rows = beyond_text(table.reset_index())
    assert all(len(row) == len(head) for row in rows)
    assert rows[0][1:] == ["A2C", *["20.0 [-4.84, 44.8]"] * 2, "–", "–", "–"]
    assert rows[1][-1] == "3 of 3" and rows[1][-2].startswith("1,667 [")


def test_personalisation_by_hand():
    """A2C shows 3 items in sessions of 10 steps; A-iALP_ft gains 2 of its 9 above random over the best list."""
    values = {"best_list": (8.0, 8.0, 10.0), "a2c": (4.0, 3.0, 10.0), "aialp_ft": (10.0, 40.0, 10.0)}
    rows = [
        result(name, seed, "end", value, "greedy", effective_items=items, length=length, cold_share=0.25)
        for name, (value, items, length) in values.items()
        for seed in (0, 1)
    ]
    measured = rows_table(rows).to_pandas()
    table = personal_table(measured, {"made-up": 1.0}).set_index("method")
    assert table.loc["aialp_ft", ["per_session", "personal", "one_list"]].tolist() == [4.0, pytest.approx(2 / 9), False]
    assert table.loc["a2c", ["per_session", "one_list"]].tolist() == [0.3, True] and table.loc["a2c", "personal"] < 0
    assert np.isnan(table.loc["best_list", "personal"])
    head, text = personal_text(table.reset_index())
    assert len(head) == len(text[0]) and [row[-2:] for row in text if row[2] == "A2C"] == [["25", "one list"]]


def test_no_steps_to_recovery_if_one_seed_does_not_recover():
    curves = pd.concat([curve([10, 8, 10], seed=0), curve([10, 6, 7], seed=1)])
    row = beyond_table(results(("aialp_ft",), 2), curves).iloc[0]
    assert np.isnan(row["steps_back"]) and row["forgetting"] == pytest.approx(0.3)
    assert beyond_text(row.to_frame().T)[1][0][-2:] == ["–", "1 of 2"]


def test_without_curves():
    row = beyond_table(results(("aialp_ft",), 1), curves_table([]).to_pandas()).iloc[0]
    assert (
        np.isnan(row["forgetting"]) and row["coverage_end"] == pytest.approx(0.1) and np.isnan(row["coverage_end_low"])
    )
