"""Which references a method is compared with, and how methods are told apart."""

from __future__ import annotations

import dataclasses

import pytest

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.report.kit.references import available, is_reference, untrained


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself as a policy is among the methods."""
    entry = dataclasses.replace(METHODS["popularity"], title="The judge itself", data="judge")
    monkeypatch.setitem(METHODS, "judge_direct", entry)


def test_a_method_is_compared_with_those_that_read_no_more(registry: None) -> None:
    ids = list(METHODS)
    online = {"dqn", "pg", "a2c"}
    assert set(available("a2c", ids)) == {"random", "dqn", "pg"}
    log = {"random", "popularity", "best_list", "warm", "model_greedy", "lea", *online}
    assert set(available("warm_ft", ids)) == {*log, "warm_ap"}
    assert set(available("aialp_ap", ids)) == {*log, "judge_direct", "warm_ft", "warm_ap"}
    assert "warm" not in available("warm", ids)
    assert set(available("warm_ft", ids, whole_log=False)) == {*log, "warm_ap"} - {"best_list", "model_greedy"}
    assert available("aialp_ap", ids) == available("of a plugin that is not registered", ids)
    assert set(untrained(ids)) == online
    assert is_reference("warm") and not is_reference("warm_ft") and not is_reference("no such method")


def test_every_method_has_a_line_of_its_own() -> None:
    styles = method_styles(METHODS).values()
    assert len({(style.colour, style.dash) for style in styles}) == len(METHODS)
