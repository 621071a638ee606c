"""Transitions with returns in the batches: the calibrated conservative term of the critic online."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from safetensors.numpy import save_file

from ialp_rllib.agent.policy.calibrated import conservative_term
from tests.agent.small import make_algorithm

ITEMS, ROWS = 20, 64

pytestmark = pytest.mark.usefixtures("ray_session")


def logged(path: Path) -> dict[str, np.ndarray]:
    """Transitions of a log in which item 5 was shown to everybody, with returns."""
    rng = np.random.default_rng(0)
    obs = np.full((ROWS, 9), ITEMS, np.int32)
    obs[:, 0], obs[:, -1] = rng.integers(6, size=ROWS), rng.integers(6, ITEMS, ROWS)
    after = np.concatenate([obs[:, :1], obs[:, 2:], np.full((ROWS, 1), 5, np.int32)], 1)
    columns = {
        "obs": obs,
        "actions": np.full(ROWS, 5, np.int64),
        "rewards": np.ones(ROWS, np.float32),
        "new_obs": after,
        "terminateds": np.ones(ROWS, bool),
        "returns": np.ones(ROWS, np.float32),
    }
    save_file(columns, path)
    return columns


def test_a_conservative_term_holds_values_down_and_has_no_part_without_a_weight(tmp_path: Path) -> None:
    columns, terms = logged(tmp_path / "log"), {}
    for weight in (0.0, 1.0):
        options = {"offline": str(tmp_path / "log"), "offline_share": 0.5, "agent": {"calibration": weight}}
        algorithm = make_algorithm(seed=1, **options)
        algorithm.rounds = 60
        algorithm.train()
        learner = algorithm.learner_group._learner
        assert ("conservative" in learner.latest_metrics) == (weight > 0)
        module = learner.module[DEFAULT_MODULE_ID].unwrapped()
        with torch.no_grad():
            items = module.policy.encoder.items()
            state = module.policy.encoder(torch.from_numpy(columns["obs"]), items)
            q, value = module.critic.advantage.scores(state, items), module.critic.state_value(state)
            action, returns = torch.from_numpy(columns["actions"]), torch.from_numpy(columns["returns"])
            terms[weight] = float(conservative_term(q, value, action, returns, ITEMS, size=8))
        algorithm.stop()
    assert terms[1.0] < terms[0.0] - 0.3
