"""The section on the data says what the facts of the stages say."""

from __future__ import annotations

from typing import Any

import pytest

from ialp_rllib.report.run.data import data_section, data_sentence


@pytest.fixture
def facts() -> dict[str, Any]:
    steps = [{"filter": "read", "value": None, "interactions": 2000, "users": 90, "items": 60, "sequences": None}]
    steps.append({"filter": "min_user", "value": 5, "interactions": 1500, "users": 80, "items": 50, "sequences": 80})
    split: dict[str, Any] = {
        "train": {"users": 56, "interactions": 1000, "items": 49, "first": "2021-03-04 05:06:07"},
        "valid": {"users": 8, "interactions": 150, "items": 40},
        "test": {"users": 16, "interactions": 350, "items": 45},
        "visible": {"users": 30, "interactions": 400, "items": 33},
        "cold_items": 15,
    }
    split["train"]["last"] = "2022-01-02 00:00:00"
    return {
        **{"users": 80, "items": 50, "items_never_used": 2, "interactions": 1500, "test_users": 16, "split": split},
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
    assert rows["Users"] == ("80", "")
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
    facts |= {"items_never_used": 0}
    facts["split"] |= {"cold_items": 0, "visible": {"users": 56, "interactions": 1000}}
    facts["log"] = {"order": "position", "steps": facts["log"]["steps"][:1]}
    section = data_section(facts, {})
    assert section is not None and section["filters"] == []
    names = [name for name, _, _ in section["sizes"]]
    assert "Cold items" not in names and "Log users" not in names
    assert ("Interactions", "1,500", "in the order of their positions") in section["sizes"]
    assert data_section({}, {"train": {}}) is None and data_sentence({}) == ""
    older = data_section({"users": 10, "test_users": 2, "items": 5, "interactions": 40}, {})
    assert older is not None and older["worlds"] == [] and ("Users", "10", "") in older["sizes"]


def test_the_worlds(facts: dict[str, Any]) -> None:
    train = {"next_items": 1200, "held_out_auc": 0.83, "held_out_hr_10": 0.3}
    section = data_section(facts, {"world": "sequence", "train": train, "test": {"next_items": 1400}})
    assert section is not None
    first, second, third = section["worlds"]
    assert (first["name"], first["users"], first["interactions"], first["rows"]) == ("Train", "56", "1,000", "1,200")
    assert (first["fitted_on"], first["dates"]) == ("log of the train users", "from 2021-03-04 to 2022-01-02")
    assert first["quality"] == "Held out AUC 0.830, Held out HR@10 0.300"
    assert (second["name"], second["fitted_on"]) == ("Validation", "log of train and validation users")
    assert (third["users"], third["fitted_on"], third["dates"]) == ("16", "log of all users", "")
    ratings = data_section(facts, {"world": "rating", "protocol": "transfer", "train": {"test_rmse": 1.0}})
    assert ratings is not None
    fitted = [world["fitted_on"] for world in ratings["worlds"]]
    assert fitted == ["ratings of the train users", "none: the true ratings", "none: the true ratings"]
    moved = data_section(facts, {"world": "sequence"}, {"test_model": "gru", "test_shift": 0.5})
    assert moved is not None and moved["worlds"][2]["fitted_on"] == (
        "log of all users, a model of another family (gru); taste has moved on by 0.5 since"
    )
    assert moved["worlds"][1]["fitted_on"] == "log of train and validation users"
