"""Successive halving: which trials go on, and that an interruption does not make it forget."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.sweep.halving import RememberedASHA
from ialp_rllib.sweep.trial import METRIC, STEPS


def scheduler(folder: Path, name: str = "rungs.json", grace: int = 1000) -> RememberedASHA:
    made = RememberedASHA(folder / name, grace_period=grace, max_t=9000, reduction_factor=3)
    assert made.set_search_properties(METRIC, "max")
    return made


def says(asha: RememberedASHA, name: str, value: float, steps: int = 1000) -> str:
    return asha.on_trial_result(None, trial(name), {STEPS: steps, METRIC: value, "training_iteration": 1})


def trial(name: str, started: int = 0) -> Any:
    """A trial; one that failed starts again under another id."""
    return SimpleNamespace(trial_id=f"{name}{started}", config={"trial": name})


def first_three(folder: Path) -> list[str]:
    asha = scheduler(folder)
    for name in "abcd":
        asha.on_trial_add(None, trial(name))
    return [says(asha, name, value) for name, value in zip("abc", (5.0, 6.0, 1.0), strict=True)]


def test_of_three_one_goes_on_and_a_new_process_knows_those_before(tmp_path: Path) -> None:
    assert first_three(tmp_path) == ["CONTINUE", "CONTINUE", "STOP"]
    again = scheduler(tmp_path)
    again.on_trial_add(None, trial("d"))
    assert says(again, "d", 4.0) == "STOP"  # a scheduler that had forgotten would let the first one pass
    fresh = scheduler(tmp_path, "other.json")
    fresh.on_trial_add(None, trial("d"))
    assert says(fresh, "d", 4.0) == "CONTINUE"
    again.on_trial_add(None, trial("a"))
    assert says(again, "a", 5.0) == "CONTINUE"  # reported once more after an interruption
    assert says(again, "a", 7.0, 3000) == "CONTINUE"
    assert says(again, "a", 7.0, 9000) == "STOP"  # the end
    again.on_trial_complete(None, trial("a"), {STEPS: 9000, METRIC: 7.0})


@pytest.mark.parametrize("started", [0, 1], ids=["the same id", "another id"])
def test_a_trial_that_was_stopped_stays_stopped_after_a_kill(tmp_path: Path, started: int) -> None:
    first_three(tmp_path)
    again = scheduler(tmp_path)  # Tune had not saved yet that c had ended
    again.on_trial_add(None, trial("c", started))
    result = {STEPS: 1000, METRIC: 1.0}
    assert again.on_trial_result(None, trial("c", started), result) == "STOP"
    again.on_trial_complete(None, trial("c", started), result)
    once_more = scheduler(tmp_path)
    once_more.on_trial_add(None, trial("c", started))
    assert once_more.on_trial_result(None, trial("c", started), result) == "STOP"
    assert len(once_more._rungs()["1000"]) == 3  # nothing was counted twice


def test_a_later_rung_stops_only_there(tmp_path: Path) -> None:
    asha = scheduler(tmp_path)
    for name in "ab":
        asha.on_trial_add(None, trial(name))
        assert says(asha, name, 5.0) == "CONTINUE"
    assert [says(asha, "a", 9.0, 3000), says(asha, "b", 1.0, 3000)] == ["CONTINUE", "STOP"]
    again = scheduler(tmp_path)
    again.on_trial_add(None, trial("b"))
    assert [says(again, "b", 5.0), says(again, "b", 1.0, 3000)] == ["CONTINUE", "STOP"]


def test_a_sweep_whose_folder_was_moved_leaves_the_old_one_alone(tmp_path: Path) -> None:
    """Ray Tune goes on with the scheduler that it pickled when the sweep began."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    pickled = pickle.dumps(scheduler(old))
    first_three(old)
    shutil.copytree(old, new)
    scheduler(new)  # made by the command, for the folder of today
    restored = pickle.loads(pickled)
    before = (old / "rungs.json").read_text()
    restored.on_trial_add(None, trial("d"))
    assert says(restored, "d", 4.0) == "STOP"
    assert (old / "rungs.json").read_text() == before != (new / "rungs.json").read_text()


def test_a_file_of_other_rungs_is_refused(tmp_path: Path) -> None:
    first_three(tmp_path)
    with pytest.raises(InputError, match="has the rungs 9000, 3000, 1000"):
        scheduler(tmp_path, grace=500).on_trial_add(None, trial("a"))
