"""Estimates, contrasts, verdicts, normalised returns, costs and findings from rows of ``results``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.compare import estimates
from ialp_rllib.compare.budgets import both, budget_table, budget_text
from ialp_rllib.compare.costs import cost_table, steps_to_fraction
from ialp_rllib.compare.findings import findings
from ialp_rllib.compare.tables import (
    PUBLISHED_TABLES,
    published_ratio,
    ratios_table,
    ratios_text,
    results_table,
    verdict_text,
)
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import of_budget
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


def test_the_summary_by_hand():
    results = frame({("a2c", "end"): (1, 2, 3, 4, 100), ("aialp_ap", "end"): (7, 9)})
    results["return_se"] = [3.0, 4.0, 0.0, 0.0, 0.0, 6.0, 8.0]
    table = estimates.summary(results)
    assert table["method"].tolist() == ["a2c", "aialp_ap"] and table["seeds"].tolist() == [5, 2]
    assert table["return"].tolist() == [22.0, 8.0] and table["reward_per_step"].tolist() == pytest.approx([2.2, 0.8])
    assert (table["return_low"] <= table["return"]).all() and (table["length_high"] == 10.0).all()
    assert table["return_se"].tolist() == [1.0, 5.0]  # sqrt(9 + 16) / 5, sqrt(36 + 64) / 2
    assert estimates.summary(results, users_vary=False)["return_se"].tolist() == pytest.approx([1.4, 7.0])


def judged(results: pd.DataFrame, users_vary: bool = False) -> pd.DataFrame:
    table = estimates.against_best(results, users_vary)
    return estimates.with_verdicts({"": table}, "sampled", lambda name: not is_reference(name))[""]


def test_better_only_if_the_test_supports_it():
    clear = {("a2c", "end"): (1, 2, 3, 2, 1), ("dqn", "end"): (0, 0.5, 0.2, 0, 0), ("aialp_ap", "end"): (7, 8, 9, 8, 7)}
    clear |= {("aialp_ft", "end"): (1, 2, 3, 1, 2), ("ialp", "end"): (-5, -6, -5, -4, -5)}
    table = judged(frame(clear)).set_index("method")
    assert table["reference"].to_dict() == {"a2c": "dqn"} | dict.fromkeys(
        ("dqn", "ialp", "aialp_ft", "aialp_ap"), "a2c"
    )
    assert table["verdict"].to_dict() == {
        "dqn": statistics.WORSE,
        "a2c": statistics.BETTER,
        "ialp": statistics.WORSE,
        "aialp_ft": statistics.NO_DIFFERENCE,
        "aialp_ap": statistics.BETTER,
    }
    assert table.loc["aialp_ap", "difference"] == pytest.approx(6.0)
    assert table.loc["aialp_ap", "ratio"] == pytest.approx(39 / 9)
    assert (table["p_adjusted"] >= table["p"]).all()


def test_a_method_is_compared_with_what_had_the_same_data():
    levels = {"random": 1.0, "popularity": 9.0, "a2c": 2.0, "dqn": 3.0, "ialp": 10.0, "aialp_ap": 20.0}
    results = frame({(name, "end"): tuple(level + s for s in range(5)) for name, level in levels.items()})
    table = judged(results).set_index("method")
    assert table["reference"].to_dict() == {
        "popularity": "dqn",
        "random": "dqn",
        "dqn": "a2c",  # neither has read the log
        "a2c": "dqn",
        "ialp": "popularity",  # not A-iALP_ap: it learns from a judge, too
        "aialp_ap": "popularity",
    }
    assert set(table.loc[["random", "popularity"], "verdict"]) == {""}  # of references


def test_p_values_of_worse_methods_are_multiplied_by_the_number_of_references():
    returns = {(name, "end"): (10, 11, 12, 13, 14) for name in ("popularity", "a2c", "dqn")}
    returns |= {("ialp", "end"): (8, 9, 10, 9, 12), ("aialp_ap", "end"): (18, 19, 21, 20, 23)}
    table = estimates.against_best(frame(returns), users_vary=False).set_index("method")
    for name, factor in (("ialp", 3), ("aialp_ap", 1)):
        x, y = np.array(returns[name, "end"], float), np.array(returns["a2c", "end"], float)
        assert table.loc[name, "p"] == pytest.approx(factor * statistics.contrasts([(x, y)], False).p[0])


def test_equal_questions_are_corrected_once_and_other_policies_not_tested():
    same = {("a2c", e): (1, 2, 3, 2, 1) for e in ("0", "end")} | {("ialp", e): (4, 6, 5, 6, 4) for e in ("0", "end")}
    table = judged(frame(same))
    assert len(table) == 2 and (table["p_adjusted"] == table["p"]).all() and table["p"].nunique() == 1
    greedy = frame(same).assign(policy="greedy")
    assert set(judged(greedy)["verdict"]) == {""} and judged(greedy)["p_adjusted"].isna().all()


def test_few_seeds_and_a_diverged_run_have_no_verdict():
    for seeds in (1, 4):
        few = judged(frame({("a2c", "end"): (1, 1.5, 2, 1)[:seeds], ("aialp_ap", "end"): (7, 8, 9, 8)[:seeds]}))
        assert few["verdict"].tolist() == [statistics.TOO_FEW_SEEDS] and np.isnan(few["ratio_low"]).all() == (
            seeds == 1
        )
    diverged = judged(frame({("a2c", "end"): (1, 2), ("aialp_ap", "end"): (7, np.nan)}))
    assert diverged["verdict"].tolist() == [statistics.NOT_COMPARABLE]
    diverged = judged(frame({("a2c", "end"): (9, np.nan), ("dqn", "end"): (1, 2)}))
    assert diverged[["method", "reference"]].values.tolist() == [["a2c", "dqn"]]  # A2C is not the best baseline


def test_normalised_returns_by_hand():
    results = pd.concat(
        [
            frame({("a2c", "0"): (2, 2), ("a2c", "end"): (6, 6), ("aialp_ap", "end"): (11, 13)}, "one"),
            frame({("a2c", "0"): (0, 0), ("a2c", "end"): (50, 50), ("aialp_ap", "end"): (30, 30)}, "two"),
        ]
    )
    scores = estimates.normalised(results, {"one": 2.0, "two": 10.0}, {"one": 12.0, "two": 50.0})
    assert scores["score"].tolist() == pytest.approx([0, 0, 0.4, 0.4, 0.9, 1.1, -0.25, -0.25, 1, 1, 0.5, 0.5])
    table = estimates.aggregate(scores).set_index(["epoch", "method"])
    assert table.loc[("end", "a2c"), "score"] == pytest.approx(0.7)
    assert table.loc[("end", "aialp_ap"), "score"] == pytest.approx(0.75)  # (0.9 + 0.5) / 2 and (1.1 + 0.5) / 2
    overall = estimates.against_best_overall(scores).iloc[0]
    assert overall["scenario"] == estimates.ALL and overall["probability"] == 0.75
    assert overall["difference"] == pytest.approx(0.05)
    for zero, one in ((np.nan, 50.0), (10.0, 10.0), (10.0, np.nan)):
        unknown = estimates.normalised(results, {"one": 2.0, "two": zero}, {"one": 12.0, "two": one})
        assert np.isnan(unknown.loc[unknown["scenario"] == "two", "score"]).all()


def test_only_seeds_finished_in_all_scenarios_are_aggregated():
    results = pd.concat(
        [
            frame({("a2c", "end"): (1, 2, 3), ("dqn", "end"): (1, 2, 3)}, "one"),
            frame({("a2c", "end"): (1, 2)}, "two"),
        ]
    )
    levels = {"one": 0.0, "two": 0.0}, {"one": 3.0, "two": 2.0}
    table = estimates.aggregate(estimates.normalised(results, *levels))
    assert table[["method", "seeds"]].values.tolist() == [["a2c", 2]]


def test_results_with_published_results():
    results = made_up(("coat",), ("popularity", "a2c", "aialp_ap"), 3).results
    contrasts = judged(results, users_vary=True)
    table = results_table(estimates.summary(results), contrasts, PUBLISHED_TABLES[2])
    sampled = table[table["policy"] == "sampled"].set_index("method")
    assert list(sampled.index) == ["popularity", "dqn", "pg", "a2c", "ialp", "aialp_ft", "aialp_ap"]
    assert sampled.loc["a2c", "published_return"] == 81.7 and sampled["seeds"].tolist() == [3, 0, 0, 3, 0, 0, 3]
    assert np.isnan(sampled.loc["dqn", "return"]) and sampled.loc["popularity", "verdict"] == "reference"
    assert sampled.loc["aialp_ap", "reference"] == "a2c" and sampled.loc["aialp_ap", "verdict"] == "too few seeds"


def test_the_text_of_a_verdict_names_its_reference():
    texts = {
        verdict: verdict_text(pd.Series({"verdict": verdict, "reference": "a2c"}))
        for verdict in (statistics.BETTER, statistics.WORSE, statistics.NO_DIFFERENCE)
    }
    assert list(texts.values()) == ["better (than A2C)", "worse (than A2C)", "no difference shown (against A2C)"]
    assert verdict_text(pd.Series({"verdict": "reference", "reference": "a2c"})) == "reference"


def both_budgets() -> pd.DataFrame:
    """A2C has 2 after 25 updates, and 8 after 800; A-iALP_ft has 20 with both."""
    parts = []
    for budget, a2c, updates in (("samples", 2.0, 25), ("updates", 8.0, 800)):
        levels = {("a2c", "1"): a2c, ("dqn", "1"): a2c / 2, ("aialp_ft", "1"): 20.0}
        if budget == "samples":
            levels |= {
                ("popularity", "1"): 16.0,
                ("popularity", "0"): 16.0,
                ("ialp", "0"): 12.0,
                ("a2c", "0"): 1.0,
                ("pg", "1"): 1.5,
            }
        values = {key: tuple(level * (1 + s / 100) for s in range(5)) for key, level in levels.items()}
        part = frame(values, "industry").assign(budget=budget)
        parts.append(
            part.assign(updates=np.where((part["epoch"] == "0") | (part["method"] == "popularity"), 0, updates))
        )
    return pd.concat(parts, ignore_index=True)


def test_the_published_ratio_with_both_budgets():
    rows = both_budgets()
    table = budget_table(rows).set_index(["epoch", "method"])
    row = table.loc[("1", "aialp_ft")]
    assert (row["samples_ratio"], row["samples_updates"], row["samples_baseline"]) == (pytest.approx(10.0), 25.0, "a2c")
    assert (row["updates_ratio"], row["updates_updates"], row["updates_baseline"]) == (pytest.approx(2.5), 800.0, "a2c")
    assert table.loc[("1", "popularity"), "updates_ratio"] == pytest.approx(2.0)  # it does not learn: measured once
    assert set(both(table.reset_index())["method"]) == {"a2c", "dqn", "aialp_ft"}
    assert np.isnan(table.loc[[("0", "ialp"), ("1", "pg")], "updates_return"]).all()  # PG uses transitions once
    head, text = budget_text(both(table.reset_index()))
    assert len(head) == len(text[0]) and any("2.50" in cell for row in text for cell in row)


def test_ratios_against_references_and_as_published():
    rows = both_budgets()
    table = ratios_table(judged(of_budget(rows), users_vary=True), budget_table(rows)).set_index("method")
    assert table.loc["ialp", ["reference", "ratio", "samples_ratio"]].tolist() == ["popularity", 0.75, 12.0]
    assert table.loc["aialp_ft", ["reference", "ratio"]].tolist() == ["popularity", 1.25]
    assert table.loc["aialp_ft", "published"] == pytest.approx(9.28 / 7.32) and table.loc["aialp_ft", "claimed"] == 1.27
    head, text = ratios_text(table.reset_index())
    assert len(head) == len(text[1]) and text[1][7] == "25" and text[1][9] == "800"
    assert published_ratio("lfm", "aialp_ft", "1") == pytest.approx(8.83 / 6.12)
    assert np.isnan(published_ratio("sample", "ialp", "0"))


def findings_text(results: pd.DataFrame) -> str:
    levels = dict.fromkeys(results["scenario"], 0.0), dict.fromkeys(results["scenario"], 9.0)
    scores = estimates.normalised(results, *levels)
    scores = of_budget(scores)
    overall = estimates.against_best_overall(scores, users_vary=False)
    both_tables = {"contrasts": estimates.against_best(of_budget(results), users_vary=False), "overall": overall}
    contrasts, overall = estimates.with_verdicts(both_tables, "sampled").values()
    ratios = ratios_table(contrasts, budget_table(results, users_vary=False))
    return " ".join(findings(contrasts, overall, estimates.aggregate(scores), ratios, "sampled"))


def test_the_findings_follow_the_numbers():
    good, bad = (7, 8, 9, 8, 7), (1, 2, 3, 2, 1)
    returns = {("a2c", "0"): bad, ("ialp", "0"): good, ("a2c", "end"): good, ("aialp_ap", "end"): bad}
    text = findings_text(frame(returns))
    best = "the best reference with the same data (A2C)"
    assert f"Before any online step, iALP is better than {best} in 1 of 1 scenario;" in text
    assert f"at the end, A-iALP_ap is better than {best} in 0 of 1 scenario (1 worse)" in text
    assert "The return of iALP before any online step is 4.33 times [" in text
    assert "sampled policy at the temperature that the validation world chose" in text
    text = findings_text(frame({("a2c", "0"): bad, ("ialp", "0"): bad}))
    assert "in 0 of 1 scenario (1 with no difference shown)" in text and "4.33" not in text


def test_the_published_ratio_is_never_without_the_number_of_updates():
    text = findings_text(both_budgets().query("method != 'popularity' and epoch == '1'"))
    expected = (
        "A-iALP_ft in industry 10.0 at equal samples (25 updates, A2C) and 2.50 at equal updates (800 updates, A2C)"
    )
    assert f"{expected} (published: 1.27 times)." in text


def test_the_findings_on_few_seeds():
    for seeds, count in ((1, "1 seed:"), (3, "3 seeds:")):
        text = findings_text(frame({("a2c", "0"): (1, 2, 2)[:seeds], ("ialp", "0"): (4, 5, 5)[:seeds]}))
        assert text.startswith(f"{count} too few for a verdict, which needs 5") and "better" not in text
    assert "compared with a reference yet" in findings_text(frame({("a2c", "end"): (1, 2)}))


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
