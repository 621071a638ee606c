"""Balanced replay: what goes where, the share of the start in a batch, and its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ialp_rllib.agent.policy.balanced import BalancedReplay, read_transitions
from ialp_rllib.agent.policy.replay import ColumnarReplay, Transitions
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings

AGENT = AgentSettings(warmup=10)


def rows(first: int, count: int) -> Transitions:
    number = np.arange(first, first + count)
    return {"actions": number, "rewards": number.astype(np.float32), "obs": np.stack([number] * 3, 1).astype(np.int32)}


def test_the_first_rows_are_the_start_and_have_their_share_of_a_batch() -> None:
    replay = BalancedReplay(ColumnarReplay(1000), 0.25, None, 30, seed=0)
    replay.add(rows(0, 20))
    assert replay.updates_due(AGENT) == 0
    replay.add(rows(20, 20))
    assert (replay.start.size, len(replay.online)) == (30, 10)  # type: ignore[arg-type]
    assert replay.updates_due(AGENT) == AGENT.updates_per_step
    for _ in range(5):
        replay.add(rows(40, 200))
    batch = replay.sample(8000)
    assert np.mean(batch["actions"] < 30) == pytest.approx(0.25, abs=0.02)
    assert set(batch["actions"][batch["actions"] < 30]) == set(range(30))
    assert (batch["obs"] == batch["actions"][:, None]).all() and (batch["rewards"] == batch["actions"]).all()


def test_returns_are_known_of_the_start_alone() -> None:
    start = {**rows(0, 50), "returns": np.arange(50, dtype=np.float32)}
    replay = BalancedReplay(ColumnarReplay(100), 0.5, start, 0, 0)
    replay.add(rows(100, 60))
    batch = replay.sample(200)
    known = batch["actions"] < 50
    assert 0 < known.sum() < 200 and np.isnan(batch["returns"][~known]).all()
    assert (batch["returns"][known] == batch["actions"][known]).all()


def test_given_transitions_are_the_start_and_no_part_of_a_checkpoint() -> None:
    replays = [BalancedReplay(ColumnarReplay(100, seed), 0.5, rows(0, 50), 30, seed) for seed in (3, 9)]
    replays[0].add(rows(100, 60))
    assert (replays[0].start.size, len(replays[0].online)) == (50, 60)  # type: ignore[arg-type]
    replays[0].sample(7)
    state = replays[0].get_state()
    assert "columns" not in state["start"] and "columns" in state["online"]
    replays[1].set_state(state)
    one, other = (replay.sample(64) for replay in replays)
    assert all((one[name] == values).all() for name, values in other.items())
    assert replays[1].updates_due(AGENT)
    first = BalancedReplay(ColumnarReplay(100), 0.5, None, 5, 0)
    first.add(rows(0, 20))
    assert "columns" in first.get_state()["start"]


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    first = rows(0, 5)
    save_file(first | {"new_obs": first["obs"], "terminateds": np.zeros(5, bool)}, tmp_path / "t")
    assert (read_transitions(tmp_path / "t")["actions"] == np.arange(5)).all()
    (tmp_path / "t").write_bytes(b"x")
    for name, problem in (("t", "cannot be read as safetensors"), ("u", "no such file")):
        with pytest.raises(InputError, match=problem):
            read_transitions(tmp_path / name)
