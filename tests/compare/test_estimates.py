"""Estimates, contrasts, verdicts, normalised returns, costs and findings from rows of ``results``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.compare import estimates
from ialp_rllib.compare.costs import cost_table, steps_to_fraction
from ialp_rllib.compare.findings import findings
from ialp_rllib.compare.tables import PUBLISHED_TABLES, published_ratio, ratios_table, results_table, verdict_text
from ialp_rllib.results import statistics
from tests.report.made_up import curves_table, point, result
from tests.report.made_up import results_table as rows_table

from .made_up import made_up


def frame(returns: dict[tuple[str, str], tuple[float, ...]], scenario: str = "made-up") -> pd.DataFrame:
    rows = [
        result(method, seed, epoch, float(value), scenario=scenario)
        for (method, epoch), values in returns.items()
        for seed, value in enumerate(values)
    ]
    return rows_table(rows).to_pandas()


def test_baselines_use_no_judge():
    ids = ["aialp_ap", "a2c", "ialp", "llm_online", "aialp_ft", "popularity"]
    assert estimates.baselines(ids, learning=True) == ["a2c"]
    assert set(estimates.baselines(ids)) == {"a2c", "popularity"}


def test_the_summary_by_hand():
    table = estimates.summary(frame({("a2c", "end"): (1, 2, 3, 4, 100), ("aialp_ap", "end"): (7, 9)}))
    assert table["method"].tolist() == ["a2c", "aialp_ap"] and table["seeds"].tolist() == [5, 2]
    assert table["return"].tolist() == [3.0, 8.0] and table["reward_per_step"].tolist() == pytest.approx([0.3, 0.8])
    assert (table["return_low"] <= table["return"]).all() and (table["length_high"] == 10.0).all()


def test_better_only_if_the_interval_supports_it():
    clear = {("a2c", "end"): (1, 2, 3, 2, 1), ("dqn", "end"): (0, 0.5, 0.2, 0, 0), ("aialp_ap", "end"): (7, 8, 9, 8, 7)}
    clear |= {("aialp_ft", "end"): (1, 2, 3, 1, 2), ("ialp", "end"): (-5, -6, -5, -4, -5)}
    table = estimates.against_baseline(frame(clear)).set_index("method")
    assert set(table["baseline"]) == {"a2c"} and "a2c" not in table.index
    assert table["verdict"].to_dict() == {
        "dqn": statistics.WORSE,
        "ialp": statistics.WORSE,
        "aialp_ft": statistics.NO_DIFFERENCE,
        "aialp_ap": statistics.BETTER,
    }
    assert table.loc["aialp_ap", "difference"] == pytest.approx(23 / 3 - 5 / 3)
    assert table.loc["aialp_ap", "ratio"] == pytest.approx(23 / 5)


def test_one_seed_and_a_diverged_run_have_no_verdict():
    one = estimates.against_baseline(frame({("a2c", "end"): (1,), ("aialp_ap", "end"): (7,)}))
    assert one["verdict"].tolist() == [statistics.ONE_SEED] and np.isnan(one["ratio_low"]).all()
    diverged = estimates.against_baseline(frame({("a2c", "end"): (1, 2), ("aialp_ap", "end"): (7, np.nan)}))
    assert diverged["verdict"].tolist() == [statistics.NOT_COMPARABLE]
    diverged = estimates.against_baseline(frame({("a2c", "end"): (9, np.nan), ("dqn", "end"): (1, 2)}))
    assert diverged[["method", "baseline"]].values.tolist() == [["a2c", "dqn"]]  # A2C is not the best baseline


def test_normalised_returns_by_hand():
    results = pd.concat(
        [
            frame({("a2c", "0"): (2, 2), ("a2c", "end"): (6, 6), ("aialp_ap", "end"): (11, 13)}, "one"),
            frame({("a2c", "0"): (0, 0), ("a2c", "end"): (50, 50), ("aialp_ap", "end"): (30, 30)}, "two"),
        ]
    )
    scores = estimates.normalised(results, {"one": 2.0, "two": 10.0})
    assert scores["score"].tolist() == pytest.approx([0, 0, 0.4, 0.4, 0.9, 1.1, -0.25, -0.25, 1, 1, 0.5, 0.5])
    table = estimates.aggregate(scores).set_index(["epoch", "method"])
    assert table.loc[("end", "a2c"), "score"] == pytest.approx(0.7)
    assert table.loc[("end", "aialp_ap"), "score"] == pytest.approx(0.7)  # 0.5 0.5 0.9 1.1, trimmed by one at each end
    overall = estimates.against_baseline_overall(scores).iloc[0]
    assert overall["scenario"] == estimates.ALL and overall["probability"] == pytest.approx(0.5)
    assert overall["verdict"] == statistics.NO_DIFFERENCE
    unknown = estimates.normalised(results, {"one": 2.0, "two": np.nan})
    assert np.isnan(unknown.loc[unknown["scenario"] == "two", "score"]).all()


def test_only_seeds_finished_in_all_scenarios_are_aggregated():
    results = pd.concat(
        [
            frame({("a2c", "end"): (1, 2, 3), ("dqn", "end"): (1, 2, 3)}, "one"),
            frame({("a2c", "end"): (1, 2)}, "two"),
        ]
    )
    table = estimates.aggregate(estimates.normalised(results, {"one": 0.0, "two": 0.0}))
    assert table[["method", "seeds"]].values.tolist() == [["a2c", 2]]


def test_results_with_published_results():
    results = made_up(("coat",), ("a2c", "aialp_ap"), 3).results
    contrasts = estimates.against_baseline(results)
    table = results_table(estimates.summary(results), contrasts, PUBLISHED_TABLES[2])
    sampled = table[table["policy"] == "sampled"].set_index("method")
    assert list(sampled.index) == ["dqn", "pg", "a2c", "ialp", "aialp_ft", "aialp_ap"]
    assert sampled.loc["a2c", "published_return"] == 81.7 and sampled["seeds"].tolist() == [0, 0, 3, 0, 0, 3]
    assert np.isnan(sampled.loc["dqn", "return"]) and sampled.loc["a2c", "verdict"] == "best baseline"


def test_the_text_of_a_verdict_names_its_baseline():
    texts = {
        verdict: verdict_text(pd.Series({"verdict": verdict, "baseline": "a2c"}))
        for verdict in (statistics.BETTER, statistics.WORSE, statistics.NO_DIFFERENCE)
    }
    assert list(texts.values()) == ["better (than A2C)", "worse (than A2C)", "no difference shown (against A2C)"]
    assert verdict_text(pd.Series({"verdict": "best baseline", "baseline": ""})) == "best baseline"


def test_ratios_against_learning_and_all_baselines():
    returns = {("a2c", "0"): (2, 2), ("popularity", "0"): (4, 4), ("ialp", "0"): (5, 5)}
    results = frame(returns, "industry")
    table = ratios_table(estimates.against_baseline(results, learning=True), estimates.against_baseline(results))
    assert table[["against", "baseline", "ratio"]].values.tolist() == [
        ["learning baselines", "a2c", 2.5],
        ["all baselines", "popularity", 1.25],
    ]
    assert set(table["claimed"]) == {2.6} and table["published"].tolist() == pytest.approx([6.35 / 2.43] * 2)
    assert published_ratio("lfm", "aialp_ft", "1") == pytest.approx(8.83 / 6.12)
    assert np.isnan(published_ratio("sample", "ialp", "0"))


def findings_text(results: pd.DataFrame) -> str:
    scores = estimates.normalised(results, dict.fromkeys(results["scenario"], 0.0))
    contrasts = estimates.against_baseline(results)
    overall = estimates.against_baseline_overall(scores)
    return " ".join(findings(contrasts, overall, estimates.aggregate(scores), "sampled"))


def test_the_findings_follow_the_numbers():
    good, bad = (7, 8, 9, 8, 7), (1, 2, 3, 2, 1)
    returns = {("a2c", "0"): bad, ("ialp", "0"): good, ("a2c", "end"): good, ("aialp_ap", "end"): bad}
    text = findings_text(frame(returns))
    assert "Before any online step, iALP is better than the best baseline (A2C) in 1 of 1 scenario;" in text
    assert "at the end, A-iALP_ap is better than the best baseline (A2C) in 0 of 1 scenario (1 worse)" in text
    assert "The return of iALP before any online step is 4.60 times [" in text and "chance alone" not in text
    text = findings_text(frame({("a2c", "0"): bad, ("ialp", "0"): bad}))
    assert "in 0 of 1 scenario (1 with no difference shown)" in text and "4.60" not in text


def test_the_findings_on_few_seeds():
    text = findings_text(frame({("a2c", "0"): (1,), ("ialp", "0"): (4,)}))
    assert text.startswith("One seed: there are no intervals") and "better" not in text
    text = findings_text(frame({("a2c", "0"): (1, 2, 2), ("ialp", "0"): (4, 5, 5)}))
    assert "one time in 10" in text
    assert "compared with a baseline yet" in findings_text(frame({("a2c", "end"): (1, 2)}))


def test_steps_to_ninety_percent():
    rows = [point("a2c", 0, step, value) for step, value in ((2000, 10.0), (0, 1.0), (1000, 9.0), (500, 8.9))]
    curve = curves_table(rows).to_pandas()
    assert steps_to_fraction(curve) == 1000.0 and steps_to_fraction(curve, 0.05) == 0.0
    assert np.isnan(steps_to_fraction(curve.iloc[:1]))
    assert np.isnan(steps_to_fraction(curve.assign(**{"return": -1.0})))


def test_costs_are_means_and_the_median_of_steps():
    measured = made_up(("coat",), ("a2c", "ialp"), 3, noise=0.0)
    table = cost_table(measured.costs, measured.curves, "sampled").set_index("method")
    assert table.loc["a2c", "seconds"] == 131.0 and table.loc["ialp", "judge_prompts"] == 20_000
    # the curve ends at 0.842 of the best return; 90% of it is reached at step 20,964, measured every 5,000 steps
    assert table.loc["a2c", "steps_to_90"] == 25_000 and np.isnan(table.loc["ialp", "steps_to_90"])
