"""Replay buffer, rejected candidates, and training on preference tables."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.tune.registry import register_env

from ialp_rllib.agent.policy.replay import ColumnarReplay, preference_transitions
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.distillation.preferences import PREFERENCES, PreferenceTable
from ialp_rllib.settings import DistilSettings, load
from ialp_rllib.users.env import UserVectorEnv
from tests.agent.judges import rule_judge
from tests.agent.small import AGENT, make_world


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    values = np.arange(first, first + count)
    return {"obs": np.stack([values, -values], 1).astype(np.int32), "rewards": values.astype(np.float32)}


def test_latest_rows_are_kept_and_columns_stay_aligned() -> None:
    replay = ColumnarReplay(10, seed=0)
    for first in range(0, 28, 4):
        replay.add(rows(first, 4))
        sampled = replay.sample(2000)
        assert len(replay) == min(10, first + 4)
        assert sorted(set(sampled["rewards"].tolist())) == list(range(max(0, first - 6), first + 4))
    assert (sampled["obs"][:, 0] == sampled["rewards"]).all()
    assert sampled["obs"].dtype == np.int32


def test_more_rows_than_capacity_keep_the_latest() -> None:
    replay = ColumnarReplay(5)
    replay.add(rows(0, 12))
    assert sorted(set(replay.sample(500)["rewards"].tolist())) == [7, 8, 9, 10, 11]


def test_restored_buffer_samples_and_overwrites_identically() -> None:
    replay = ColumnarReplay(10, seed=3)
    replay.add(rows(0, 14))
    replay.sample(5)
    other = ColumnarReplay(10, seed=99)
    other.set_state(replay.get_state())
    for copy in (replay, other):
        copy.add(rows(14, 3))
    left, right = replay.sample(64), other.sample(64)
    assert all(np.array_equal(left[k], right[k]) for k in left)


def test_empty_batch_has_no_effect() -> None:
    replay = ColumnarReplay(10)
    replay.add({})
    assert len(replay) == 0


def test_state_without_rows_keeps_the_present_ones() -> None:
    replay = ColumnarReplay(10, seed=3)
    replay.add(rows(0, 7))
    state = replay.get_state(rows=False)
    assert "columns" not in state
    expected = replay.sample(20)
    replay.set_state(state)
    assert np.array_equal(replay.sample(20)["rewards"], expected["rewards"])


def judged(count: int) -> dict[str, np.ndarray]:
    """Row i: the judge selected item 10 i and rejected the nine items that follow it."""
    selected = 10 * np.arange(count)
    return {
        "obs": np.stack([selected, selected + 500, selected + 1000], 1).astype(np.int32),
        "actions": selected,
        "rewards": np.ones(count, np.float32),
        "new_obs": np.stack([selected, selected + 1000, selected], 1).astype(np.int32),
        "passed": (selected[:, None] + np.arange(1, 10)).astype(np.int32),
    }


def test_actions_are_replaced_by_rejected_candidates() -> None:
    replay = ColumnarReplay(50, seed=1, rejected=0.8)
    replay.add(judged(50))
    batch = replay.sample(20_000)
    assert set(batch) == {"obs", "actions", "rewards", "new_obs"}
    assert np.array_equal(batch["new_obs"][:, -1], batch["actions"])  # the next state contains the replaced item
    assert np.array_equal(batch["new_obs"][:, :2], batch["obs"][:, [0, 2]])
    assert np.array_equal(batch["actions"] // 10, batch["obs"][:, 0] // 10)  # a candidate of the same prompt
    assert np.array_equal(batch["rewards"] == 0, batch["actions"] % 10 > 0)
    counts = np.bincount(batch["actions"] % 10, minlength=10) / 20_000
    np.testing.assert_allclose(counts, [0.2, *[0.8 / 9] * 9], atol=0.01)
    state = replay.get_state()
    assert np.array_equal(state["columns"]["actions"], judged(50)["actions"])  # stored rows are unchanged
    expected = replay.sample(64)
    replay.set_state(state)
    again = replay.sample(64)
    assert all(np.array_equal(expected[name], again[name]) for name in expected)


def test_rejected_candidates_are_stored_only_if_used() -> None:
    replay = ColumnarReplay(50)
    replay.add(judged(50))
    assert set(replay.sample(100)) == {"obs", "actions", "rewards", "new_obs"}
    assert (replay.sample(100)["rewards"] == 1).all()


PLAN = DistilSettings(sessions=20, steps=6, batch=8)


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


@pytest.fixture(scope="module")
def table(sample: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 preferences; the label depends on the length of the prompt, some prompts are refused."""
    folder = tmp_path_factory.mktemp("table")
    distil(rule_judge(sample, lambda prompt: len(prompt) % 12 - 1), PLAN, sample, folder)
    return folder


def test_preference_table_as_transitions_with_hard_and_soft_rewards(table: Path) -> None:
    hard = preference_transitions(table, 7, 300)
    soft = preference_transitions(table, 7, 300, "probability")
    count = len(hard["actions"])
    assert 80 < count < 120  # without refused prompts
    assert hard["obs"].shape == hard["new_obs"].shape == (count, 8)
    assert np.array_equal(hard["obs"][:, 2:], hard["new_obs"][:, 1:-1])
    assert (hard["new_obs"][:, -1] == hard["actions"]).all()
    assert set(np.unique(hard["rewards"])) == {0.0, 1.0}
    np.testing.assert_allclose(soft["rewards"], np.where(hard["rewards"] == 1, 0.5, 0.05), rtol=1e-6)


def test_preference_table_without_answers_raises(tmp_path: Path) -> None:
    PreferenceTable(tmp_path, {}).finish_wave(0, [PREFERENCES.empty_table()])
    with pytest.raises(InputError, match="holds no answered prompt"):
        preference_transitions(tmp_path, 7, 300)


@pytest.mark.usefixtures("ray_session")
def test_table_larger_than_the_replay_capacity_is_used_completely(table: Path, tmp_path: Path) -> None:
    world = make_world(300)
    register_env("table", lambda c: UserVectorEnv(world, c["num_envs"], 7))
    agent = dataclasses.replace(AGENT, replay=50, history=7)

    def make(seed: int) -> IALP:
        config = IALPConfig().environment("table").ialp(agent=agent, preferences=str(table), rewards="probability")
        return build(config, seed)

    algorithm = make(0)
    whole = preference_transitions(table, 7, 300, "probability")
    stored = algorithm.replay.get_state()["columns"]
    assert all(np.array_equal(stored[name], whole[name]) for name in whole if name != "passed")
    algorithm.rounds = 5
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "half"))
    algorithm.train()
    other = make(9)
    other.rounds = 5
    other.restore_from_path(str(tmp_path / "half"))  # the checkpoint does not contain the table
    other.train()
    expected, restored = algorithm.policy_weights(), other.policy_weights()
    assert all(torch.equal(expected[k], restored[k]) for k in expected)
    assert algorithm.progress() == other.progress()
    assert algorithm.progress()["updates"] == 10
    algorithm.stop()
    other.stop()


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("rejected", [0.0, 0.8])
def test_rejected_candidates_distinguish_good_items_from_bad_ones(
    sample: Catalogue, tmp_path: Path, rejected: float
) -> None:
    """The judge never answers None, so all selected items have the same reward."""
    named = dataclasses.replace(sample, item_texts={"name": np.array([f"{i}" for i in range(300)])})

    def lowest(prompt: str) -> int:
        return int(np.argmin([int(item) for item in re.findall(r"\b[a-j]\. \((\d+)\)", prompt)]))

    distil(rule_judge(named, lowest), DistilSettings(sessions=200, steps=6, batch=200), named, tmp_path)
    world = make_world(300)
    register_env("table", lambda c: UserVectorEnv(world, c["num_envs"], 7))
    agent = dataclasses.replace(AGENT, history=7, entropy=0.02)
    config = IALPConfig().environment("table").ialp(agent=agent, preferences=str(tmp_path), rejected=rejected)
    algorithm = build(config, 0)
    algorithm.rounds = 300
    algorithm.train()
    starts = torch.randint(100, 200, (64, 1), generator=torch.manual_seed(0))
    pad = torch.full((64, 6), 300)
    items = algorithm.env_runner.module.act(torch.cat([torch.zeros_like(starts), pad, starts], 1).int(), "categorical")
    algorithm.stop()
    assert (float(items.float().mean()) < 60) == (rejected > 0)
