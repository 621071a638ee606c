"""What learning costs: sums of rewards, straight lines of references, and the steps until they are reached."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.report.kit.names import label
from ialp_rllib.report.run import first_weeks, reward_figures
from ialp_rllib.report.run.sections import weeks_section
from tests.report.made_up import curves_table, point, result, results_table, sequence_world


@pytest.fixture
def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    results, curves = sequence_world(seeds=3)
    return results_table(results).to_pandas(), curves_table(curves).to_pandas()


def test_earned_and_rates(world: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, curves = world
    lines, rates = first_weeks.earned(curves), first_weeks.rates(curves)
    assert set(lines) == {"a2c", "warm_ft", "aialp_ap"}
    assert set(rates) == {"random", "popularity", "best_list", "warm", "model_greedy"}  # iALP is no reference
    assert rates["warm"] == pytest.approx(27.0 / 8)
    line = lines["a2c"]
    assert line["x"].iloc[0] == line["mean"].iloc[0] == 0
    train = curves[(curves["method"] == "a2c") & (curves["env_steps"] == 50_000) & (curves["series"] == "train")]
    assert line["mean"].iloc[-1] == pytest.approx(train["reward_sum"].mean())


def test_balance_finds_the_deepest_point_and_the_way_back() -> None:
    line = pd.DataFrame({"x": [0, 100, 200, 300, 400], "mean": [0.0, 50.0, 150.0, 310.0, 500.0]})
    against = first_weeks.balance(line, 1.0)
    assert against.ahead.tolist() == [0, -50, -50, 10, 100]
    assert (against.most_behind, against.at, against.level) == (50, 100, 300)
    never = first_weeks.balance(line, 2.0)
    assert (never.most_behind, never.at) == (300, 400) and math.isnan(never.level)
    ahead = first_weeks.balance(line, 0.1)
    assert (ahead.most_behind, ahead.level) == (0, 0)


def test_steps_to_reach_each_reference() -> None:
    rows = [result(m, s, "0", v, "greedy") for m, v in (("random", 2.0), ("popularity", 20.0)) for s in range(3)]
    points = []
    for seed, first in enumerate((1000, 2000, None)):  # the third seed never has the return of popularity
        for step in (0, 1000, 2000, 3000):
            value = 25.0 if first is not None and step >= first else 3.0
            points.append(point("a2c", seed, step, value, "test_greedy"))
    reach = first_weeks.steps_to_reach(results_table(rows).to_pandas(), curves_table(points).to_pandas())
    assert reach.set_index("reference")["steps"].to_dict() == {"random": 0, "popularity": 2000}
    assert reach.set_index("reference")["target"].to_dict() == {"random": 2, "popularity": 20}
    two = curves_table([p for p in points if p["seed"] != 0]).to_pandas()
    assert first_weeks.steps_to_reach(results_table(rows).to_pandas(), two)["steps"].tolist() == [0, math.inf]


def test_the_section_holds_the_numbers(world: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    section = weeks_section(*world)
    assert section is not None and section["bar"] == label("warm") and len(section["figures"]) == 2
    rows = {row["method"].id: row for row in section["rows"]}
    names = [name for name, _ in section["references"]]
    assert len(names) == 5 and section["references"][0] == ("Random", "1.80")
    reach = dict(zip(names, rows["a2c"]["reach"], strict=True))
    assert reach.pop("Random") == "at once" and reach.pop(label("model_greedy")) == "never"
    assert set(reach.values()) == {"50,000"}
    lines, rates = first_weeks.earned(world[1]), first_weeks.rates(world[1])
    against = first_weeks.balance(lines["a2c"], rates["warm"])
    assert rows["a2c"]["behind"] == f"{against.most_behind:,.0f}" and against.most_behind > 1000
    assert f"{against.most_behind / rates['warm']:,.0f} recommendations" in rows["a2c"]["worth"]
    assert f"by step {against.at:,.0f}" in rows["a2c"]["worth"]
    assert rows["a2c"]["level"] == "not in this run"
    assert rows["warm_ft"]["level"] == "never behind" and rows["warm_ft"]["behind"] == "0"
    assert rows["aialp_ap"]["level"] == f"{first_weeks.balance(lines['aialp_ap'], rates['warm']).level:,.0f} steps"


def test_the_figures(world: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    lines, rates = first_weeks.earned(world[1]), first_weeks.rates(world[1])
    for figure in (reward_figures.earned_figure(lines, rates), reward_figures.balance_figure(lines, rates, "warm")):
        ET.fromstring(figure)
        assert figure.count("-line-") == len(lines) + len(rates)
        assert "A-iALP_ap" in figure and "currentColor" in figure


def test_without_rewards_or_references_less_is_shown(world: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    results, curves = world
    old = weeks_section(results, curves.assign(reward_sum=np.nan))
    assert old is not None and old["figures"] == [] and old["bar"] == "" and len(old["rows"]) == 3
    learners = curves[curves["env_steps"] > 0]
    alone = weeks_section(results[results["method"] == "a2c"], learners[learners["method"] == "a2c"])
    assert alone is not None and len(alone["figures"]) == 1 and alone["references"] == []
    assert weeks_section(results, curves[curves["env_steps"] == 0]) is None
    assert weeks_section(results, curves.iloc[:0]) is None


@pytest.mark.parametrize("places", [[], [0.5], [0.0, 0.0, 0.0], [0.1, 0.5, 0.52, 0.53, 0.9], [1.0, 1.0], [0.2] * 20])
def test_names_stand_apart(places: list[float]) -> None:
    moved = reward_figures.spread(np.array(places), 0.1)
    assert len(moved) == len(places) and (np.diff(moved) > 0.1 - 1e-9).all()
    if len(places) <= 11:
        assert ((moved > -1e-9) & (moved < 1 + 1e-9)).all()
    apart = np.array([0.1, 0.4, 0.8])
    assert reward_figures.spread(apart, 0.1).tolist() == pytest.approx(apart.tolist())
