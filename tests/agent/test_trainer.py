"""Training runs that are killed and resumed: equal to the bit, from the newest intact checkpoint, without pickle."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from collections import deque
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from ialp_rllib.agent import trainer
from ialp_rllib.agent.arithmetic import flushes_denormals, training_arithmetic
from ialp_rllib.agent.methods import METHODS, resolve
from ialp_rllib.agent.policy.replay import ColumnarReplay
from ialp_rllib.agent.trainer import TrainingPlan, train
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings, AlphaSettings
from tests.agent.small import QUICK, make_config

pytestmark = pytest.mark.usefixtures("ray_session")

TOTAL = 960  # environment steps, of 8 users


class Killed(Exception):
    pass


def method(name: str, runners: int = 0, **changes: Any) -> Any:
    entry = METHODS[name]
    parts = {
        "module_class": resolve(entry.module),
        "objective": resolve(entry.objective),
        "buffer_class": resolve(entry.buffer),
    }
    return make_config(runners, **{**parts, **QUICK.get(name, {}), **changes})


def go(config: Any, folder: Path, kill_at: int = 10**9, seed: int = 0) -> dict[str, Any]:
    """Train, or stop without any clean-up at the first point of the curve from ``kill_at`` on."""

    def report(point: dict[str, Any]) -> None:
        if point["env_steps"] >= kill_at:
            raise Killed

    folder.mkdir(parents=True, exist_ok=True)
    plan = TrainingPlan(
        folder, TOTAL, "env_steps", 48, 100, {"0": 0, "1": 300}, 200, method="m", identity="these settings"
    )
    return train(config, plan, seed, report=report)


def tables(folder: Path) -> list[pd.DataFrame]:
    read = [pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("curves", "measurements", "sessions")]
    return [table[[c for c in table.columns if "seconds" not in c]] for table in read]


def assert_equal(left: Path, right: Path) -> None:
    for one, other in zip(tables(left), tables(right), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert (left / "policy.safetensors").read_bytes() == (right / "policy.safetensors").read_bytes()
    for folder in (left, right):
        assert sorted(path.name for path in folder.iterdir()) == [
            *("config.json", "curves.parquet", "measurements.parquet", "policy.safetensors", "sessions.parquet"),
        ]


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))


@pytest.mark.parametrize("name", ["aialp_ap", "dqn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("a2c", "pg"))])
def test_a_training_killed_twice_ends_with_the_same_numbers(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    if name == "aialp_ap":
        alpha = AlphaSettings(shape="evidence", steps=500)
        changes = {"options": {"alpha": alpha, "rollout_steps": 96}, "agent": {"anchor": 0.1, "anchor_steps": 800}}
        changes |= {"rollout_steps": 96, "offline_share": 0.5}
    config = method(name, **changes)
    go(config, tmp_path / "whole")
    for kill_at in (330, 700):
        with pytest.raises(Killed):
            go(config, tmp_path / "killed", kill_at, seed=0)
        torch.rand(7)  # another process has other random generators
        assert len(checkpoints(tmp_path / "killed")) == 2
    go(config, tmp_path / "killed")
    assert_equal(tmp_path / "killed", tmp_path / "whole")


def test_a_training_that_is_paused_ends_with_the_same_policy_as_one_that_is_not(tmp_path: Path) -> None:
    config = method("a2c")
    go(config, tmp_path / "whole")
    plan = TrainingPlan(
        tmp_path / "paused", TOTAL, "env_steps", 48, 100, {"0": 0, "1": 300}, method="m", identity="these settings"
    )
    plan.folder.mkdir()
    for pause in (400, 400, 700):  # twice at the same place: nothing is trained
        taken = train(config, dataclasses.replace(plan, pause_at=pause), 0)
        assert taken["paused"] and pause <= taken["env_steps"] < pause + 48
        measured = pq.read_table(checkpoints(plan.folder)[-1] / "measurements.parquet").to_pandas()
        assert measured["env_steps"].iloc[-1] == taken["env_steps"]
        assert not (plan.folder / "policy.safetensors").exists()
    assert "paused" not in train(config, dataclasses.replace(plan, pause_at=TOTAL), 0)
    assert (plan.folder / "policy.safetensors").read_bytes() == (tmp_path / "whole" / "policy.safetensors").read_bytes()
    ends = [
        tables(folder)[1].query("epoch != ''").reset_index(drop=True) for folder in (plan.folder, tmp_path / "whole")
    ]
    pd.testing.assert_frame_equal(*ends, check_exact=True)


def test_of_a_damaged_checkpoint_the_older_is_resumed_of_two_neither(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = method("a2c")
    go(config, tmp_path / "whole")
    for count, words in ((1, "going on from the older checkpoint-"), (2, "training starts over")):
        folder = tmp_path / f"{count} damaged"
        with pytest.raises(Killed):
            go(config, folder, 600)
        for path in checkpoints(folder)[-count:]:
            damaged = path / "learner.safetensors"
            damaged.write_bytes(damaged.read_bytes()[:-1])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            taken = go(config, folder)
        assert len(taken["warnings"]) == count
        assert all("learner.safetensors has" in text and words in text for text in taken["warnings"])
        assert all(text in caplog.text for text in taken["warnings"])
        assert_equal(folder, tmp_path / "whole")


class Poison:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_training_leaves_the_arithmetic_of_the_process_as_it_was(tmp_path: Path) -> None:
    threads, small = torch.get_num_threads(), torch.full((1,), 1e-39)
    with training_arithmetic(threads + 1):
        assert flushes_denormals() and torch.get_num_threads() == threads + 1
    with pytest.raises(InputError), training_arithmetic(threads + 1):
        raise InputError("a", "b", "c")
    go(method("a2c"), tmp_path / "training")
    assert not flushes_denormals() and torch.get_num_threads() == threads
    assert float(small * 1) > 0


def test_training_reads_and_writes_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = method("a2c")
    folder, ran = tmp_path / "killed", tmp_path / "ran"
    go(config, tmp_path / "whole")
    with pytest.raises(Killed):
        go(config, folder, 600)
    newest = checkpoints(folder)[-1]
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".safetensors", ".parquet"}
    old = folder / "checkpoint-000000000959"
    for place in (old / "learner_group", newest):
        place.mkdir(parents=True, exist_ok=True)
        (place / "state.pkl").write_bytes(pickle.dumps(Poison(ran)))
    for name in ("save_to_path", "restore_from_path", "from_checkpoint"):
        monkeypatch.setattr(trainer.IALP, name, lambda *args: pytest.fail("RLlib's checkpoints are pickles"))
    go(config, folder)
    assert not ran.exists()
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.pkl"))
    assert left == [f"{newest.name}/state.pkl", f"{old.name}/learner_group/state.pkl"]  # nor are they deleted
    for one, other in zip(tables(folder), tables(tmp_path / "whole"), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


class OwnBuffer(ColumnarReplay):
    """A plugin's buffer with a state that JSON and arrays cannot express."""

    @staticmethod
    def from_settings(agent: AgentSettings, seed: int) -> ColumnarReplay:
        return OwnBuffer(agent.replay, seed)

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        return {**super().get_state(rows), "recent": deque([1.0])}


def test_a_state_of_another_type_is_refused_at_the_first_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"state 'replay/recent': a collections\.deque cannot be written"):
        go(method("a2c", buffer_class=OwnBuffer), tmp_path)
    assert not checkpoints(tmp_path)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        go(method("a2c"), tmp_path, 600)
    with pytest.raises(InputError, match=r"checkpoint-\d+: does not fit this training .*"):
        go(method("a2c", agent={"dim": 8}), tmp_path)


@pytest.mark.slow  # two processes that load torch and RLlib
def test_remote_runners_go_on_to_the_bit(tmp_path: Path) -> None:
    config = method("a2c", runners=2)
    go(config, tmp_path / "whole")
    with pytest.raises(Killed):
        go(config, tmp_path / "killed", 600)
    go(config, tmp_path / "killed")
    assert_equal(tmp_path / "killed", tmp_path / "whole")
