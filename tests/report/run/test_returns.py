"""The tables of returns, against values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from ialp_rllib.report.run import returns, tables
from ialp_rllib.report.run.summary import summarise
from ialp_rllib.results.statistics import BETTER, TOO_FEW_SEEDS, WORSE
from tests.report.made_up import REFERENCES, result, results_table, sequence_world


def world(seeds: int, end: float | None = None) -> pd.DataFrame:
    return results_table(sequence_world(seeds, end)[0]).to_pandas()


def by_method(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["method"].id: row for row in rows}


def test_references_stand_above_the_methods() -> None:
    table = tables.comparison(world(1), "greedy")
    shown = returns.headline(table, "greedy", set())
    assert list(shown["groups"]) == ["References", "Methods"]
    assert {row["method"].id for row in shown["groups"]["References"]} == set(REFERENCES)
    warm = by_method(shown["groups"]["References"])["warm"]["cells"]
    assert warm[0] == {"first": True, "best": False, "repeated": False, "mean": "27.0", "interval": "26.2–27.8"}
    assert warm[3] == {"first": True, "best": False, "repeated": True, "mean": "27.0", "interval": ""}
    assert shown["over_users"] and not shown["temperatures"] and shown["seeds"] == [1]
    assert not returns.headline(tables.comparison(world(3), "greedy"), "greedy", set())["over_users"]


def test_the_sampled_table_shows_its_temperatures() -> None:
    shown = returns.headline(tables.comparison(world(1), "sampled"), "sampled", set())
    assert shown["temperatures"]
    cells = by_method(shown["groups"]["Methods"])["a2c"]["cells"]
    assert len(cells) == 4 * 4 and [cell["mean"] for cell in cells[:4]] == ["1.62", "8.00", "0.162", "0.500"]


def test_each_method_against_the_best_with_the_same_data() -> None:
    against = tables.tested(world(5), "greedy").against.set_index(["method", "epoch"])
    assert set(against.index.get_level_values("method")) == {"a2c", "warm_ft", "ialp", "aialp_ap"}
    assert against.loc[("a2c", "0"), "reference"] == "random"  # it has read nothing
    row = against.loc[("aialp_ap", "end")]
    assert (row["reference"], row["verdict"]) == ("model_greedy", WORSE)
    assert row["reference_return"] == pytest.approx(33.7 + 0.2) and row["difference"] == pytest.approx(31.2 - 33.7)
    assert row["ratio"] == pytest.approx((31.2 + 0.2) / (33.7 + 0.2))
    part = tables.tested(world(5), "greedy", whole_log=False).against.set_index(["method", "epoch"])
    assert part.loc[("ialp", "0"), "reference"] == "warm"
    assert part.loc[("aialp_ap", "end"), "reference"] == "warm_ft"  # a baseline: it learns online from the log alone
    assert set(tables.tested(world(4), "greedy").against["verdict"]) == {TOO_FEW_SEEDS}
    cells = by_method(returns.against_rows(tables.tested(world(5), "greedy").against))["aialp_ap"]["cells"]
    assert (cells[3]["text"], cells[3]["ratio"], cells[3]["conclusive"]) == ("−2.50", "0.926×", True)
    assert cells[3]["other"].endswith(", 33.9") and cells[3]["epoch"] == "End"


def test_personalisation() -> None:
    personal = tables.personalisation(tables.comparison(world(1), "greedy")).set_index("method")
    assert personal.loc["warm", "per_session"] == pytest.approx(105 / 8)
    assert personal.loc["aialp_ap", "personal"] == pytest.approx((31.2 - 26.2) / (31.2 - 1.7))
    assert personal.loc["ialp", "personal"] < 0
    assert personal.loc[["random", "best_list"], "personal"].isna().all()
    rows = by_method(returns.personal_rows(personal.reset_index()))
    assert rows["aialp_ap"]["one_list"] and not rows["warm"]["one_list"]
    assert (rows["aialp_ap"]["effective_items"], rows["aialp_ap"]["per_session"]) == ("8.30", "1.04")
    assert (rows["aialp_ap"]["personal"], rows["ialp"]["personal"], rows["ialp"]["cold_share"]) == ("17%", "−54%", "–")
    old = world(1).assign(effective_items=math.nan)
    assert tables.personalisation(tables.comparison(old, "greedy")).empty


def test_ratios_of_the_published_kind_name_their_updates() -> None:
    ratios = tables.published_ratios(world(1), "greedy", "industry").set_index(["method", "epoch"])
    row = ratios.loc[("aialp_ap", "end")]
    assert row["ratio"] == pytest.approx(31.2 / 30.0) and (row["baseline"], row["updates"]) == ("a2c", 50_000 // 32)
    assert row["published"] == pytest.approx(51.8 / 46.3)
    assert "model_greedy" not in ratios.index.get_level_values("method")
    assert math.isnan(tables.published_ratios(world(1), "greedy", "sample")["published"].max())
    rows = returns.ratio_rows(ratios.reset_index())
    cells = by_method(rows)["aialp_ap"]["cells"]
    assert cells[3] == {"epoch": "End", "ratio": "1.04×", "under": "A2C after 1,562 updates", "published": "1.12×"}
    both = pd.concat([world(1), world(1).assign(budget="updates", updates=1000)])
    updates = tables.published_ratios(both, "greedy", "industry")
    assert set(updates["budget"]) == {"samples", "updates"}
    assert set(updates.loc[updates["budget"] == "updates", "updates"]) == {1000}


def text(results: pd.DataFrame) -> str:
    return " ".join(summarise(tables.comparison(results, "greedy"), tables.tested(results, "greedy").against, "greedy"))


def test_the_summary_says_whether_a_method_is_above_the_references() -> None:
    below = text(world(1))
    assert below.startswith("A-iALP_ap starts at R 17.6 before any online step and ends at R 31.2 after 50,000")
    assert "A warm start from the log, without a judge, has R 27.0 before any online step" in below
    assert ", and R 30.5 at the end if it goes on learning" in below
    assert "No method is above the best reference" in below and "neither before any online step nor at the end" in below
    assert "One seed: no verdicts" in below
    assert "shows 8.30 effective items in sessions of 8.00 steps: nearly one list for everybody" in below
    above = text(world(5, end=40.0))
    assert "Before any online step no method is above the best reference" in above
    assert "At the end A-iALP_ap (R 40.2) is above the best reference" in above
    assert "at the end A-iALP_ap is better than" in above and BETTER in above
    near = text(world(1, end=34.0))  # of 33.7, with a standard error of 0.4
    assert "At the end no method is above the best reference" in near
    assert "; A-iALP_ap (R 34.0) is level with it, within the interval." in near
    assert "5 or more" in text(world(2)) and "corrected" not in text(world(2))


def test_without_references_the_summary_names_the_baseline() -> None:
    rows = [result("a2c", 0, e, v, "greedy") for e, v in (("0", 4.0), ("end", 24.0))]
    rows += [result("aialp_ap", 0, e, v, "greedy") for e, v in (("0", 21.0), ("end", 28.0))]
    shown = text(results_table(rows).to_pandas())
    assert "(best with the same data: A2C, 4.00)" in shown and "reference" not in shown
