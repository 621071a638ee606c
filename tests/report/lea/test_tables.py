"""Measures and verdicts of a ranking report, on made-up ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.report.lea import sentences
from ialp_rllib.report.lea.page import groups_of, missing_of
from ialp_rllib.report.lea.tables import MASKED, Scores
from ialp_rllib.stages.lea.rows import Row

USERS = 200


def cases(row: str, ranks: np.ndarray, head: str = "none", seed: int = 0) -> pd.DataFrame:
    n = len(ranks)
    return pd.DataFrame(
        {"row": row, "seed": seed, "head": head, "user": np.arange(n) // 2, "target": np.arange(n) % 7,
         "last": np.arange(n) % 2 == 1, "rank": ranks + 1.0, "rank_masked": ranks.astype(float)}
    )  # fmt: skip


@pytest.fixture
def scores() -> Scores:
    rng = np.random.default_rng(0)
    hard = rng.integers(0, 40, 2 * USERS)
    easy = np.maximum(hard - 8, 0)
    parts = [cases("item_knn", hard), cases("vsknn", hard + 1)]
    for seed in (0, 1):
        parts += [cases("snqn-leasr", easy, "supervised", seed), cases("snqn-leasr", hard + 5, "q", seed)]
        parts += [cases("snqn", easy, "supervised", seed), cases("snqn-noise", easy, "supervised", seed)]
    return Scores(pd.concat(parts, ignore_index=True), MASKED, "supervised")


def test_measures_by_head_and_positions(scores: Scores) -> None:
    assert scores.main("snqn-leasr") == ("snqn-leasr", "supervised") and scores.main("item_knn") == ("item_knn", "none")
    assert scores.seeds("snqn-leasr") == 2 and scores.seeds("item_knn") == 1
    masked, plain = (scores.measures(("item_knn", "none"), column, False) for column in ("rank_masked", "rank"))
    assert masked["HR@10"] > plain["HR@10"] and masked["n"] == 2 * USERS
    assert scores.measures(("item_knn", "none"), "rank", True)["n"] == USERS


def test_lea_that_is_better_than_knn_is_said_to_be(scores: Scores) -> None:
    found = scores.differences([("snqn-leasr", "item_knn"), ("snqn-noise", "item_knn")])
    assert all(one.better and one.low < one.value < one.high for one in found) and sentences.shown(found, [])
    text = sentences.finding(found, [], scores)
    assert text.startswith("LEA is shown to be better than kNN, V-SKNN, GRU4Rec and SASRec: NDCG@10 of its best row, ")


def test_lea_has_to_be_better_than_the_best_of_four_by_five_percent() -> None:
    """The bar is not kNN alone, and an interval above 0 is not enough."""
    rows = [Row(name, name) for name in ("item_knn", "vsknn")]
    rows += [Row("gru4rec-ce", "gru4rec", "ce", "gru4rec"), Row("sasrec-ce", "ce", "ce", "sasrec")]
    rows += [Row(f"snqn-{kind}", kind, "snqn", "sasrec") for kind in ("s", "leasr", "noise")]
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, 40, 2 * USERS)
    table = {row.name: np.where(rng.random(2 * USERS) < 0.1, ranks, ranks + 30) for row in rows}
    table |= {"snqn-leasr": ranks, "gru4rec-ce": np.where(np.arange(2 * USERS) % 5 == 0, ranks + 1, ranks)}
    found = Scores(pd.concat([cases(name, values) for name, values in table.items()]), MASKED, "supervised")
    best = groups_of(found, rows)["best"]
    assert {one.reference for one in best} == {"gru4rec-ce"} and {one.row for one in best} == {"snqn-s", "snqn-leasr"}
    one = sentences.best_lea(best)
    assert one is not None and one.row == "snqn-leasr" and one.better and one.value < 0.05 * one.base
    assert missing_of(found) == [] and not sentences.shown(best, [])
    assert "SASRec; better, but by less than 5%: NDCG@10 of its best row" in sentences.finding(best, [], found)
    table["gru4rec-ce"] = np.where(np.arange(2 * USERS) % 3 == 0, ranks + 9, ranks)
    found = Scores(pd.concat([cases(name, values) for name, values in table.items()]), MASKED, "supervised")
    best = groups_of(found, rows)["best"]
    assert sentences.shown(best, []) and not sentences.shown(best, ["vsknn"])
    assert sentences.finding(best, ["vsknn"], found).endswith(" Not among the rows: vsknn.")


def test_the_bar_of_states_is_the_text_encoder_where_there_is_one() -> None:
    measured = {"state": {"NDCG@10": 0.05}, "right_uniform": 0.8, "right_popular": 0.6}
    bars = {name: {"NDCG@10": value} for name, value in (("popularity", 0.02), ("tokens", 0.04), ("text", 0.06))}
    environments = {"llm": {"quality": measured}, "untrained": bars}
    found = sentences.gates({}, environments)
    assert [gate["reached"] for gate in found] == ["missed", "reached", "reached", "reached", "missed"]
    assert "text encoder" in found[0]["name"] and found[0]["bar"] == "0.0600"
    del bars["text"]
    assert len(sentences.gates({}, environments)) == 4


def test_lea_that_is_not_is_said_not_to_be(scores: Scores) -> None:
    denied = "LEA is not shown to be better than kNN, GRU4Rec and SASRec"
    worse = scores.differences([("item_knn", "snqn")])
    assert sentences.finding(worse, [], scores).startswith(f"{denied}; it is worse: NDCG@10 of its best row, item_knn")
    same = scores.differences([("snqn-leasr", "snqn")])
    assert sentences.finding(same, [], scores).startswith(f"{denied}: NDCG@10")
    assert sentences.finding([], [], scores) == f"{denied}: no row of it was trained."
    assert sentences.finding([], sentences.BASELINES, scores) == f"{denied}: none of these is among the rows."
    assert sentences.effect(same[0]).startswith("That the environment improves snqn is not shown")


def test_a_control_that_does_as_well_is_named(scores: Scores) -> None:
    equal = scores.differences([("snqn-leasr", "snqn-noise")])
    assert sentences.controls(equal).startswith("These controls do as well, as far as these cases tell: snqn-noise.")
    better = [equal[0]._replace(low=0.1, p=0.01)]
    assert sentences.controls(better) == "It is above all of its controls."


def test_p_values_are_corrected_for_their_number(scores: Scores) -> None:
    one = scores.differences([("snqn-leasr", "item_knn")])[0]
    two = scores.differences([("snqn-leasr", "item_knn"), ("snqn-leasr", "vsknn")])
    assert max(found.p for found in two) == pytest.approx(2 * one.p)
