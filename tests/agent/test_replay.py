"""The replay ring, and preference tables in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.tune.registry import register_env

from ialp_rllib.agent.algorithm import IALP, IALPConfig
from ialp_rllib.agent.replay import ColumnarReplay, preference_transitions
from ialp_rllib.agent.trainer import build
from ialp_rllib.catalogue import Catalogue, read_source
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distil import distil
from ialp_rllib.judge.preferences import PREFERENCES, PreferenceTable
from ialp_rllib.settings import DistilSettings, load
from ialp_rllib.users.env import UserVectorEnv
from tests.agent.judges import rule_judge
from tests.agent.small import AGENT, make_world


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    values = np.arange(first, first + count)
    return {"obs": np.stack([values, -values], 1).astype(np.int32), "rewards": values.astype(np.float32)}


def test_the_latest_rows_are_kept_and_columns_stay_together() -> None:
    replay = ColumnarReplay(10, seed=0)
    for first in range(0, 28, 4):
        replay.add(rows(first, 4))
    sampled = replay.sample(2000)
    assert len(replay) == 10
    assert sorted(set(sampled["rewards"].tolist())) == list(range(18, 28))
    assert (sampled["obs"][:, 0] == sampled["rewards"]).all()
    assert sampled["obs"].dtype == np.int32


def test_more_rows_than_fit_keep_the_last_ones() -> None:
    replay = ColumnarReplay(5)
    replay.add(rows(0, 12))
    assert sorted(set(replay.sample(500)["rewards"].tolist())) == [7, 8, 9, 10, 11]


def test_restored_replay_samples_and_overwrites_as_the_original_would() -> None:
    replay = ColumnarReplay(10, seed=3)
    replay.add(rows(0, 14))
    replay.sample(5)
    other = ColumnarReplay(10, seed=99)
    other.set_state(replay.get_state())
    for copy in (replay, other):
        copy.add(rows(14, 3))
    left, right = replay.sample(64), other.sample(64)
    assert all(np.array_equal(left[k], right[k]) for k in left)


def test_an_empty_batch_changes_nothing() -> None:
    replay = ColumnarReplay(10)
    replay.add({})
    assert len(replay) == 0


def test_a_state_without_rows_leaves_them() -> None:
    replay = ColumnarReplay(10, seed=3)
    replay.add(rows(0, 7))
    state = replay.get_state(rows=False)
    assert "columns" not in state
    expected = replay.sample(20)
    replay.set_state(state)
    assert np.array_equal(replay.sample(20)["rewards"], expected["rewards"])


PLAN = DistilSettings(sessions=20, steps=6, batch=8)


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


@pytest.fixture(scope="module")
def table(sample: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 preferences; a prompt's length decides on the label, and refuses some."""
    folder = tmp_path_factory.mktemp("table")
    distil(rule_judge(sample, lambda prompt: len(prompt) % 12 - 1), PLAN, sample, folder)
    return folder


def test_a_table_as_transitions_with_hard_and_soft_rewards(table: Path) -> None:
    hard = preference_transitions(table, 7, 300)
    soft = preference_transitions(table, 7, 300, "probability")
    count = len(hard["actions"])
    assert 80 < count < 120  # the refused ones are left out
    assert hard["obs"].shape == hard["new_obs"].shape == (count, 8)
    assert np.array_equal(hard["obs"][:, 2:], hard["new_obs"][:, 1:-1])
    assert (hard["new_obs"][:, -1] == hard["actions"]).all()
    assert set(np.unique(hard["rewards"])) == {0.0, 1.0}
    np.testing.assert_allclose(soft["rewards"], np.where(hard["rewards"] == 1, 0.5, 0.05), rtol=1e-6)


def test_a_table_without_any_answer(tmp_path: Path) -> None:
    PreferenceTable(tmp_path, {}).close(0, [PREFERENCES.empty_table()])
    with pytest.raises(InputError, match="holds no answered prompt"):
        preference_transitions(tmp_path, 7, 300)


@pytest.mark.usefixtures("ray_session")
def test_a_table_larger_than_the_replay_is_learnt_from_whole(table: Path, tmp_path: Path) -> None:
    world = make_world(300)
    register_env("table", lambda c: UserVectorEnv(world, c["num_envs"], 7))
    agent = dataclasses.replace(AGENT, replay=50, history=7)

    def make(seed: int) -> IALP:
        config = IALPConfig().environment("table").ialp(agent=agent, preferences=str(table), rewards="probability")
        return build(config, seed)

    algorithm = make(0)
    whole = preference_transitions(table, 7, 300, "probability")
    held = algorithm.replay.get_state()["columns"]
    assert all(np.array_equal(held[name], whole[name]) for name in whole)
    algorithm.rounds = 5
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "half"))
    algorithm.train()
    other = make(9)
    other.rounds = 5
    other.restore_from_path(str(tmp_path / "half"))  # which holds no copy of the table
    other.train()
    expected, found = algorithm.policy_weights(), other.policy_weights()
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    assert algorithm.progress() == other.progress()
    assert algorithm.progress()["updates"] == 10
    algorithm.stop()
    other.stop()
