"""Where the runner in the learner's process acts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ialp_rllib.agent.rllib import devices


@pytest.mark.parametrize(
    ("worker", "learners", "share", "device"),
    [(0, 0, 0.5, "cuda"), (0, 0, 0, None), (1, 0, 0.5, None), (0, 1, 0.5, None)],
    ids=["with the learner", "no GPU", "remote runner", "remote learner"],
)
def test_a_runner_acts_where_the_learner_learns(
    worker: int, learners: int, share: float, device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "get_device", lambda config, gpus: "cuda" if gpus else "cpu")
    config = SimpleNamespace(num_learners=learners, num_gpus_per_learner=share)
    assert devices.acting_device(config, worker) == device
