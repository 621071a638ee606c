"""Regression tests of RLlib behaviour that, without a workaround, gives wrong results without an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from tests.agent.small import make_algorithm, make_world

pytestmark = pytest.mark.usefixtures("ray_session")


def learner_weights(algorithm: IALP) -> dict[str, np.ndarray]:
    module = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()
    return {k: v.numpy().copy() for k, v in module.state_dict().items() if k.startswith("policy.")}


def runner_weights(algorithm: IALP, group: str = "env_runner_group") -> list[dict[str, np.ndarray]]:
    runners = getattr(algorithm, group)
    local = runners.num_remote_env_runners() == 0
    return runners.foreach_env_runner(
        lambda r: {k: v.numpy().copy() for k, v in r.module.state_dict().items() if k.startswith("policy.")},
        local_env_runner=local,
    )


def equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


def test_trap_1_evaluation_after_an_in_place_restore_uses_the_restored_weights(tmp_path: Path) -> None:
    algorithm = make_algorithm()
    algorithm.rounds = 20
    algorithm.train()
    old = learner_weights(algorithm)
    measured = algorithm.evaluate()["env_runners"]["sampled"]["return"]
    algorithm.save_to_path(str(tmp_path / "old"))
    for _ in range(5):
        algorithm.train()
    assert not equal(old, learner_weights(algorithm))
    assert algorithm.evaluate()["env_runners"]["sampled"]["return"] != measured
    algorithm.restore_from_path(str(tmp_path / "old"))
    again = algorithm.evaluate()["env_runners"]["sampled"]["return"]
    for group in ("env_runner_group", "eval_env_runner_group"):
        assert all(equal(old, weights) for weights in runner_weights(algorithm, group)), group
    assert again == measured
    algorithm.stop()


def test_trap_1_is_real() -> None:
    """RLlib's runner ignores a state with a lower sequence number; ours loads it."""
    algorithm = make_algorithm()
    runner = algorithm.env_runner_group.local_env_runner
    first = {k: np.zeros_like(v) for k, v in runner.module.get_state().items()}
    runner._weights_seq_no = 9
    SingleAgentEnvRunner.set_state(runner, {"rl_module": first, "weights_seq_no": 3})
    assert any(v.any() for v in runner.module.get_state().values())
    runner._weights_seq_no = 9
    runner.set_state({"rl_module": first, "weights_seq_no": 3})
    assert not any(v.any() for v in runner.module.get_state().values())
    algorithm.stop()


@pytest.mark.slow
def test_trap_2_remote_runners_have_the_weights_before_their_first_sample_after_a_restore(tmp_path: Path) -> None:
    algorithm = make_algorithm(runners=2)
    algorithm.rounds = 20
    algorithm.train()
    trained = learner_weights(algorithm)
    algorithm.save_to_path(str(tmp_path / "trained"))
    algorithm.stop()
    restored = make_algorithm(runners=2, seed=5)
    assert not equal(trained, learner_weights(restored))
    restored.restore_from_path(str(tmp_path / "trained"))
    weights = runner_weights(restored)  # read at once, to detect asynchronous pushes that have not arrived
    assert len(weights) == 2
    assert all(equal(trained, w) for w in weights)
    restored.stop()


def test_trap_3_columns_of_a_same_step_environment_are_whole_episodes() -> None:
    """RLlib's default runner joins the end of an episode to the start of the next one: 47 of 61 were corrupt."""
    algorithm = make_algorithm()
    runner = algorithm.env_runner_group.local_env_runner
    columns = runner.sample(num_timesteps=8 * 200)[0].columns
    shape = (200, 8)
    observation = columns["obs"].reshape(*shape, -1)
    after = columns["new_obs"].reshape(*shape, -1)
    action = columns["actions"].reshape(shape)
    done = (columns["terminateds"] | columns["truncateds"]).reshape(shape)
    assert done.any()
    assert (after[..., -1] == action).all()  # the next state ends with the action
    assert np.array_equal(after[..., 1:-1], observation[..., 2:])  # after the session, shifted by one
    assert (after[..., 0] == observation[..., 0]).all()  # the user is the same
    continuing = ~done[:-1]
    assert np.array_equal(after[:-1][continuing], observation[1:][continuing])
    restarted = observation[1:][done[:-1]]
    assert (restarted[:, 1:-1] == make_world().n_items).all()  # a new session contains only its first item
    algorithm.stop()


def test_trap_4_evaluation_does_not_favour_short_episodes() -> None:
    """Quota of episodes per environment: the mean over the first N ends is biased towards short episodes."""
    algorithm = make_algorithm(agent={"mask_recent": 0})
    runner: ColumnarEnvRunner = algorithm.env_runner_group.local_env_runner
    torch.manual_seed(0)
    lengths = np.concatenate([runner.sample(num_episodes=8, explore=True)[0].lengths for _ in range(60)])
    assert len(lengths) == 480
    # Reference: one complete episode per environment, repeated.
    env = runner.env
    rng = np.random.default_rng(0)
    reference = []
    for seed in range(60):
        env.reset(seed=1000 + seed)
        running, length = np.ones(8, bool), np.zeros(8)
        while running.any():
            _, _, terminated, truncated, _ = env.step(rng.integers(20, size=8))
            length += running
            running &= ~(terminated | truncated)
        reference.append(length)
    expected = np.concatenate(reference)
    assert expected.std() > 1  # short and long episodes exist
    error = np.hypot(expected.std(), lengths.std()) / np.sqrt(480)
    assert abs(lengths.mean() - expected.mean()) < 4 * error
    first_ends = []  # lengths if sampling stopped after N episodes
    for _ in range(60):
        batch = runner.sample(num_timesteps=8 * 6, explore=True, force_reset=True)[0]
        first_ends.append(batch.lengths[:8])
    assert np.concatenate(first_ends).mean() < expected.mean() - 4 * error
    algorithm.stop()


def test_measure_is_deterministic_and_balanced_over_users() -> None:
    algorithm = make_algorithm()
    results = algorithm.evaluate()["env_runners"]
    assert results["greedy"]["episodes"] == results["sampled"]["episodes"] == 30
    again = algorithm.evaluate()["env_runners"]
    assert all(again[p]["return"] == results[p]["return"] for p in ("greedy", "sampled"))
    algorithm.stop()


def test_training_continues_after_a_runner_died() -> None:
    algorithm = make_algorithm(runners=2)
    algorithm.rounds = 3
    algorithm.train()
    before = algorithm.env_steps
    victim = next(iter(algorithm.env_runner_group._worker_manager.actors().values()))
    ray.kill(victim)
    for _ in range(4):
        algorithm.train()
    assert algorithm.env_steps > before
    algorithm.stop()


def test_trap_5_optimizer_moments_are_restored(tmp_path: Path) -> None:
    """RLlib converts parameter indices to tensors, so that PyTorch silently drops all moments."""
    algorithm = make_algorithm()
    algorithm.rounds = 20
    algorithm.train()
    optimizers = algorithm.learner_group._learner._named_optimizers
    before = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
    algorithm.save_to_path(str(tmp_path / "trained"))
    restored = make_algorithm(seed=5)
    restored.restore_from_path(str(tmp_path / "trained"))
    for name, optimizer in restored.learner_group._learner._named_optimizers.items():
        after = optimizer.state_dict()
        assert after["param_groups"] == before[name]["param_groups"]
        assert after["state"].keys() == before[name]["state"].keys() != set()
        for index, moments in before[name]["state"].items():
            assert all(torch.equal(moments[k], after["state"][index][k]) for k in moments)
    algorithm.stop()
    restored.stop()
