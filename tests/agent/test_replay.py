"""The replay ring."""

from __future__ import annotations

import numpy as np

from ialp_rllib.agent.replay import ColumnarReplay


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
