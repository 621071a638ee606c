"""The section on the data says what the facts of the stages say."""

from __future__ import annotations

from typing import Any

import pytest

from ialp_rllib.report.run.data import data_section, data_sentence


@pytest.fixture
def facts() -> dict[str, Any]:
    steps = [{"filter": "read", "value": None, "interactions": 2000, "users": 90, "items": 60, "sequences": None}]
    steps.append({"filter": "min_user", "value": 5, "interactions": 1500, "users": 80, "items": 50, "sequences": 80})
    return {
        **{"users": 80, "train_users": 56, "valid_users": 8, "test_users": 16, "log_users": 30},
        **{"items": 50, "cold_items": 15, "items_never_used": 2, "interactions": 1500, "visible_interactions": 400},
        "sequence_length": {"min": 5, "median": 12.0, "mean": 18.75, "p90": 40.0, "max": 99},
        "popularity": {"gini": 0.4, "top_10%": 0.37},
        "log": {"order": "time", "first": "2021-03-04 05:06:07", "last": "2023-08-09 10:11:12", "steps": steps},
    }


def test_sizes_dates_and_splits(facts: dict[str, Any]) -> None:
    section = data_section(facts, {})
    assert section is not None
    rows = {name: (value, remark) for name, value, remark in section["sizes"]}
    assert rows["Items"] == ("50", "2 of them in no interaction")
    assert rows["Cold items"][0] == "15" and rows["Cold items"][1].startswith("30% of the items")
    assert rows["Users"] == ("80", "56 train, 8 validation, 16 test")
    assert rows["Interactions"] == ("1,500", "from 2021-03-04 to 2023-08-09")
    assert rows["Log users"][0] == "30" and rows["Log users"][1].startswith("400 interactions")
    assert rows["Interactions per user"] == ("12", "median; from 5 to 99; mean 18.8, nine in ten have 40 or fewer")
    assert rows["Popular items"][0] == "37%"
    assert section["filters"][0] == {"name": "read from the file", "counts": ["2,000", "90", "60", "–"]}
    assert section["filters"][1] == {"name": "min_user = 5", "counts": ["1,500", "80", "50", "80"]}
    assert data_sentence(facts) == (
        "Data: 1,500 interactions of 80 users with 50 items; users: 56 train, 8 validation, 16 test."
    )


def test_what_is_not_set_is_not_shown(facts: dict[str, Any]) -> None:
    facts |= {"cold_items": 0, "log_users": 56, "items_never_used": 0}
    facts["log"] = {"order": "position", "steps": facts["log"]["steps"][:1]}
    section = data_section(facts, {})
    assert section is not None and section["filters"] == []
    names = [name for name, _, _ in section["sizes"]]
    assert "Cold items" not in names and "Log users" not in names
    assert ("Interactions", "1,500", "in the order of their positions") in section["sizes"]
    assert data_section({}, {"train": {}}) is None and data_sentence({}) == ""
    older = data_section({"users": 10, "test_users": 2, "items": 5, "interactions": 40}, {})
    assert older is not None and ("Users", "10", "8 train, 2 test") in older["sizes"]


def test_the_worlds(facts: dict[str, Any]) -> None:
    train = {"next_items": 1200, "held_out_auc": 0.83, "held_out_hr_10": 0.3, "users": 56, "fitted_on": "train logs"}
    section = data_section(facts, {"world": "sequence", "train": train, "test": {"next_items": 1400}})
    assert section is not None
    first, second = section["worlds"]
    assert (first["name"], first["users"], first["fitted_on"], first["rows"]) == ("Train", "56", "train logs", "1,200")
    assert first["quality"] == "Held out AUC 0.830, Held out HR@10 0.300"
    assert (second["name"], second["users"], second["fitted_on"]) == ("Test", "16", "–")
