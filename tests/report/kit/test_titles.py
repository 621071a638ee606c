"""Titles of methods: marks for rejected candidates and for a judge that knows the test world."""

from __future__ import annotations

from typing import Any

from ialp_rllib.report.kit.departures import departure_rows
from ialp_rllib.report.kit.names import label, method_styles, titles_of
from ialp_rllib.settings import departures, load


def settings(rejected: float, model: str = "tiny", loss: str = "actor_critic") -> dict[str, Any]:
    return {"pretrain": {"rejected": rejected, "loss": loss}, "judge": {"model": model}}


def test_a_pretrained_method_says_that_it_learns_from_rejected_candidates() -> None:
    assert label("ialp") == "iALP"
    with titles_of({"sample": settings(0.8)}):
        labels = [
            style.label for style in method_styles(["a2c", "ialp", "llm_online", "aialp_ft", "aialp_ap"]).values()
        ]
        assert labels == ["A2C", "iALP+r", "LLMOnline", "A-iALP_ft+r", "A-iALP_ap+r"]
        assert "rejected" in method_styles(["ialp"])["ialp"].about
    with titles_of({"sample": settings(0.0)}):
        assert label("aialp_ap") == "A-iALP_ap"
    assert label("aialp_ap") == "A-iALP_ap"


def test_a_method_that_learns_from_probabilities_says_so() -> None:
    with titles_of({"sample": settings(0.8, loss="listwise")}):
        assert [label(name) for name in ("a2c", "ialp", "llm_online")] == ["A2C", "iALP+l", "LLMOnline"]
        assert "probabilities of all candidates" in method_styles(["ialp"])["ialp"].about


def test_a_method_that_learns_from_the_recommender_of_lea_says_so() -> None:
    """It has not learnt from the judge's probabilities."""
    tree = settings(0.8, loss="listwise")
    tree["pretrain"]["source"] = "lea"
    with titles_of({"sample": tree}):
        assert [label(name) for name in ("a2c", "ialp", "aialp_ft", "warm")] == [
            *("A2C", "iALP+lea", "A-iALP_ft+lea", "Warm start"),
        ]
        about = method_styles(["ialp"])["ialp"].about
        assert "recommender of ialp lea" in about and "probabilities" not in about


def test_scenarios_that_differ() -> None:
    with titles_of({"a": settings(0.8), "b": settings(0.0)}):
        assert [label("ialp", name) for name in ("a", "b", "")] == ["iALP+r", "iALP", "iALP (+r)"]
        assert label("of a plugin", "a") == "of a plugin"


def test_a_method_says_that_its_judge_knows_the_test_world() -> None:
    with titles_of({"coat": settings(0.0, "oracle")}):
        assert [label(name) for name in ("a2c", "ialp", "llm_online")] == ["A2C", "iALP †", "LLMOnline †"]
        assert "test truth" in method_styles(["ialp"])["ialp"].about
    with titles_of({"coat": settings(0.8, "ratings")}):
        assert label("ialp") == "iALP+r"


def test_departures_of_several_scenarios() -> None:
    rows = departure_rows({"sample": departures(load("sample")), "coat": departures(load("coat"))})
    by_name = {(row.setting, row.here): row for row in rows}
    assert by_name["pretrain.mode", "table"].scenarios == ()
    assert by_name["agent.advantage", "all_actions"].scenarios == ("sample",)
    assert by_name["agent.advantage", "expected"].scenarios == ("coat",)
    assert [bool(row.setting) for row in rows] == sorted((bool(row.setting) for row in rows), reverse=True)
