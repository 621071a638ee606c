"""Successive halving: which trials go on, and that an interruption does not make it forget."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ialp_rllib.sweep.halving import RememberedASHA
from ialp_rllib.sweep.trial import METRIC, STEPS


def scheduler(folder: Path) -> RememberedASHA:
    made = RememberedASHA(folder / "rungs.pkl", grace_period=1000, max_t=9000, reduction_factor=3)
    assert made.set_search_properties(METRIC, "max")
    return made


def says(asha: RememberedASHA, name: str, value: float, steps: int = 1000) -> str:
    return asha.on_trial_result(None, trial(name), {STEPS: steps, METRIC: value, "training_iteration": 1})


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name)


def test_of_three_one_goes_on_and_a_new_process_knows_those_before(tmp_path: Path) -> None:
    asha = scheduler(tmp_path)
    for name in "abcd":
        asha.on_trial_add(None, trial(name))
    assert [says(asha, name, value) for name, value in zip("abc", (5.0, 6.0, 1.0), strict=True)] == [
        *("CONTINUE", "CONTINUE", "STOP"),
    ]
    again = scheduler(tmp_path)
    again.on_trial_add(None, trial("d"))
    assert says(again, "d", 4.0) == "STOP"  # a scheduler that had forgotten would let the first one pass
    fresh = RememberedASHA(tmp_path / "other.pkl", grace_period=1000, max_t=9000, reduction_factor=3)
    fresh.set_search_properties(METRIC, "max")
    fresh.on_trial_add(None, trial("d"))
    assert says(fresh, "d", 4.0) == "CONTINUE"
    again.on_trial_add(None, trial("a"))
    assert says(again, "a", 5.0) == "CONTINUE"  # reported once more after an interruption
    assert says(again, "a", 7.0, 3000) == "CONTINUE"
    assert says(again, "a", 7.0, 9000) == "STOP"  # the end
