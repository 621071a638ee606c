"""Measures and verdicts of a ranking report, on made-up ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.report.lea import sentences
from ialp_rllib.report.lea.tables import MASKED, Scores

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
    found = scores.differences([("snqn-leasr", "item_knn"), ("snqn-leasr", "vsknn")])
    assert all(one.better and one.low < one.value < one.high for one in found)
    text = sentences.finding("snqn-leasr", found, scores)
    assert text.startswith("LEA is shown to be better than kNN: NDCG@10 of snqn-leasr is 0.")


def test_lea_that_is_not_is_said_not_to_be(scores: Scores) -> None:
    worse = scores.differences([("item_knn", "snqn")])
    assert sentences.finding("item_knn", worse, scores).startswith(
        "LEA is not shown to be better than kNN; it is worse:"
    )
    same = scores.differences([("snqn-leasr", "snqn")])
    assert sentences.finding("snqn-leasr", same, scores).startswith("LEA is not shown to be better than kNN")
    assert sentences.finding(None, [], scores).startswith("LEA is not shown to be better than kNN")
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
