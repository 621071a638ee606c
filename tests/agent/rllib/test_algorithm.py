"""The algorithm: learning on a trivial task, determinism, checkpoints, mixtures and target networks."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from safetensors.torch import save_file

from ialp_rllib.agent.policy.alpha import alpha
from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.mixture import MixtureModule
from ialp_rllib.settings import AlphaSettings, DistanceSettings
from ialp_rllib.users.leaving import DistanceRule
from ialp_rllib.users.rewards import RatingReward
from tests.agent.small import make_algorithm, make_method, make_world, restored_and_not

WINDOW = DistanceSettings(window=3)

pytestmark = pytest.mark.usefixtures("ray_session")


def module_of(algorithm: IALP) -> torch.nn.Module:
    return algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()


@pytest.mark.parametrize("advantage", ["expected", "all_actions"])
def test_solves_a_trivial_task(advantage: str) -> None:
    """Four good items; a repeat within three steps ends the session: the optimum is 10 steps of reward 2.5."""
    algorithm = make_algorithm(agent={"advantage": advantage, "entropy": 0.05, "actor_lr": 3e-3})
    start = algorithm.evaluate()["env_runners"]["sampled"]["return"]
    algorithm.rounds = 400
    algorithm.train()
    end = algorithm.evaluate()["env_runners"]
    assert end["greedy"]["return"] > 20
    assert end["sampled"]["return"] > start + 5
    algorithm.stop()


def test_feedback_distinguishes_users() -> None:
    """Unobserved users like either the even or the odd items; one answer identifies which."""
    liked = np.stack([np.arange(20) % 2, (np.arange(20) + 1) % 2]).astype(np.float32)
    quiet = dataclasses.replace(make_world(), users=np.arange(2), reward=RatingReward(liked), shows_user=False)
    world = dataclasses.replace(quiet, make_leaving=lambda n: DistanceRule(np.zeros((20, 20), bool), WINDOW, 10))
    returns = {}
    for feedback in (0, 2):
        agent = {"feedback": feedback, "entropy": 0.02, "actor_lr": 3e-3}
        algorithm = make_algorithm(agent=agent, worlds={"train": world, "test": world})
        algorithm.rounds = 500
        algorithm.train()
        returns[feedback] = algorithm.evaluate()["env_runners"]["sampled"]["return"]
        algorithm.stop()
    assert returns[0] == pytest.approx(5, abs=1)  # half of ten
    assert returns[2] > 8


def test_weights_depend_only_on_the_seed() -> None:
    states = []
    for seed in (3, 3, 4):
        algorithm = make_algorithm(seed=seed)
        torch.manual_seed(seed)
        algorithm.rounds = 15
        algorithm.train()
        states.append(algorithm.policy_weights())
        algorithm.stop()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not all(torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_restored_run_is_bit_identical(tmp_path: Path) -> None:
    (expected, progress), (weights, restored_progress) = restored_and_not(make_algorithm, 77, 12, tmp_path)
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    assert restored_progress == progress


def test_mixture_freezes_theta_and_synchronises_alpha(tmp_path: Path) -> None:
    source = make_algorithm(seed=1)
    path = tmp_path / "policy.safetensors"
    save_file(source.policy_weights(), path)
    theta = source.policy_weights()
    source.stop()
    schedule = AlphaSettings(shape="linear", start=0.2, end=1.0, steps=400)
    late = {"rollout_steps": 80, "options": {"alpha": schedule, "rollout_steps": 80}}
    algorithm = make_algorithm(seed=2, module_class=MixtureModule, theta_weights=str(path), **late)
    runner = algorithm.env_runner_group.local_env_runner
    observation = torch.from_numpy(runner.env.reset(seed=0)[0])
    acting = runner.module.acting_probs(observation)
    assert torch.allclose(acting, torch.softmax(runner.module.theta(observation), -1))  # alpha = 0: theta alone
    algorithm.rounds = 9
    algorithm.train()
    assert (algorithm.updates, algorithm.progress()["alpha"]) == (0, 0)  # theta acts in the first steps
    algorithm.rounds = 16 + 10
    algorithm.train()
    assert algorithm.progress()["alpha"] == pytest.approx(0.6)  # 200 of 400 steps after the first 80
    assert float(runner.module.alpha) == pytest.approx(0.6)  # synchronised with the weights
    module = module_of(algorithm)
    for name, value in module.theta.state_dict().items():
        assert torch.equal(value, theta[f"policy.{name}"])
    beta = torch.softmax(runner.module.policy(observation), -1)
    fixed = torch.softmax(runner.module.theta(observation), -1)
    assert torch.allclose(runner.module.acting_probs(observation), 0.6 * beta + 0.4 * fixed, atol=1e-6)
    assert not any(k.startswith("theta.") for k in module.get_state(inference_only=True))
    assert any(k.startswith("theta.") for k in module.get_state())
    algorithm.save_to_path(str(tmp_path / "mixed"))
    algorithm.stop()
    restored = make_algorithm(seed=9, module_class=MixtureModule, theta_weights=str(path), **late)
    restored.restore_from_path(str(tmp_path / "mixed"))
    assert float(restored.env_runner_group.local_env_runner.module.alpha) == pytest.approx(0.6)
    restored.stop()


def test_a_mixture_by_session_keeps_what_was_drawn(tmp_path: Path) -> None:
    source = make_algorithm(seed=1)
    path = tmp_path / "policy.safetensors"
    save_file(source.policy_weights(), path)
    source.stop()
    schedule = AlphaSettings(shape="constant", start=0.5, by="session")
    mixture = {"module_class": MixtureModule, "theta_weights": str(path), "options": {"alpha": schedule}}
    algorithm = make_algorithm(seed=2, **mixture)
    runner = algorithm.env_runner_group.local_env_runner
    (sampled,) = runner.sample(num_timesteps=8 * 12, explore=True)
    columns = {name: values.reshape(12, 8, *values.shape[1:]) for name, values in sampled.columns.items()}
    ended = columns["terminateds"] | columns["truncateds"]
    odds, after = columns[ODDS], columns[NEXT_ODDS]
    assert (odds[0] == 0).all() and ended.any()
    assert (odds[1:] == np.where(ended[:-1], 0, after[:-1])).all()
    observation, action = torch.from_numpy(columns["obs"][3]), torch.from_numpy(columns["actions"][3])[:, None]
    ratio = runner.module.policy(observation).log_softmax(-1) - runner.module.theta(observation).log_softmax(-1)
    assert after[3] - odds[3] == pytest.approx(ratio.gather(1, action)[:, 0].detach().numpy(), abs=1e-4)
    state = runner.get_rollout_state()
    (more,) = runner.sample(num_timesteps=40, explore=True)
    runner.set_rollout_state(state)
    (again,) = runner.sample(num_timesteps=40, explore=True)
    assert all((more.columns[name] == again.columns[name]).all() for name in more.columns)
    algorithm.rounds = 10
    algorithm.train()
    assert np.isfinite(algorithm.losses()["critic_loss"])
    results = algorithm.evaluate()["env_runners"]
    assert results["greedy"]["return"] > 0
    algorithm.stop()


def test_fine_tuning_starts_from_the_pretrained_policy(tmp_path: Path) -> None:
    source = make_algorithm(seed=1)
    path = tmp_path / "policy.safetensors"
    save_file(source.policy_weights(), path)
    source.stop()
    algorithm = make_algorithm(seed=2, start_weights=str(path))
    start = algorithm.policy_weights()
    algorithm.rounds = 10
    algorithm.train()
    moved = algorithm.policy_weights()
    assert "divergence" not in algorithm.losses()
    algorithm.stop()
    from safetensors.torch import load_file

    assert all(torch.equal(v, start[k]) for k, v in load_file(path).items())
    assert not torch.equal(start["policy.actor.bias"], moved["policy.actor.bias"])


@pytest.mark.parametrize("name", ["a2c", "aialp_ap"])
def test_an_anchor_holds_the_policy_to_its_start(name: str, tmp_path: Path) -> None:
    source = make_algorithm(seed=1)
    path = str(tmp_path / "policy.safetensors")
    save_file(source.policy_weights(), path)
    source.stop()
    mixture = {"theta_weights": path, "options": {"alpha": AlphaSettings(shape="constant", start=0.5)}}
    start = {"start_weights": path, **(mixture if name == "aialp_ap" else {})}
    distances = []
    for anchor in (0.0, 5.0):
        agent = {"anchor": anchor, "actor_lr": 1e-2, "entropy": 0.0}
        algorithm = make_method(name, seed=2, agent=agent, **start)
        module, runner = module_of(algorithm), algorithm.env_runner_group.local_env_runner
        before = copy.deepcopy(module.policy)
        algorithm.rounds = 30
        algorithm.train()
        frozen = module.theta if name == "aialp_ap" else module.anchor
        assert (frozen is None) == (name == "a2c" and not anchor)
        assert ("divergence" in algorithm.losses()) == bool(anchor)
        observation = torch.from_numpy(runner.env.reset(seed=0)[0])
        with torch.no_grad():
            now, then = (torch.log_softmax(policy(observation), -1) for policy in (module.policy, before))
            assert frozen is None or torch.equal(frozen(observation), before(observation))
        distances.append(float((now.exp() * (now - then)).sum(1).mean()))
        algorithm.stop()
    assert distances[1] < 0.2 * distances[0]


def test_method_that_does_not_learn_keeps_its_weights() -> None:
    algorithm = make_algorithm(learns=False)
    start = algorithm.policy_weights()
    algorithm.rounds = 20
    algorithm.train()
    end = algorithm.policy_weights()
    assert algorithm.env_steps == 160
    assert algorithm.updates == 0
    assert all(torch.equal(start[k], end[k]) for k in start)
    algorithm.stop()


def test_target_network_moves_towards_the_online_network() -> None:
    algorithm = make_algorithm(agent={"target_rate": 0.5})
    module = module_of(algorithm)
    before = module.target.critic.advantage.bias.clone()
    algorithm.rounds = 10
    algorithm.train()
    online, target = module.critic.advantage.bias, module.target.critic.advantage.bias
    assert not torch.equal(before, target)
    assert not torch.equal(online, target)
    assert (online - target).abs().max() < (online - before).abs().max()
    algorithm.stop()


def test_updates_per_step_and_warm_up() -> None:
    algorithm = make_algorithm(agent={"updates_per_step": 3})
    algorithm.rounds = 10
    algorithm.train()
    # 8 users a step and a warm-up of 32 transitions: three steps without updates
    assert algorithm.updates == 3 * 7
    assert algorithm.env_steps == 80
    assert np.isfinite(algorithm.losses()["critic_loss"])
    algorithm.stop()


def test_clock_of_alpha_follows_the_evidence_and_is_restored(tmp_path: Path) -> None:
    source = make_algorithm(seed=1)
    path = tmp_path / "policy.safetensors"
    save_file(source.policy_weights(), path)
    source.stop()
    schedule = AlphaSettings(shape="evidence", start=0.2, end=0.8, steps=2500, pace=3.0, memory=50)
    mixture = {"module_class": MixtureModule, "theta_weights": str(path)}
    algorithm = make_algorithm(seed=2, options={"alpha": schedule}, **mixture)
    algorithm.rounds = 1
    seen = []
    for _ in range(120):  # theta is untrained, so beta is soon better
        algorithm.train()
        seen.append(algorithm.progress()["alpha"])
    module = module_of(algorithm)
    assert seen[0] == pytest.approx(0.2, abs=0.001)
    assert seen == sorted(seen)
    assert int(module.env_steps) < float(module.clock) <= 3 * int(module.env_steps)
    assert seen[-1] == pytest.approx(alpha(schedule, float(module.clock)))
    evidence, clock = module.evidence.clone(), module.clock.clone()
    assert evidence[2] == min(algorithm.updates, 50)
    algorithm.save_to_path(str(tmp_path / "mixed"))
    algorithm.stop()
    restored = make_algorithm(seed=9, options={"alpha": schedule}, **mixture)
    restored.restore_from_path(str(tmp_path / "mixed"))
    assert torch.equal(module_of(restored).evidence, evidence)
    assert torch.equal(module_of(restored).clock, clock)
    assert float(restored.env_runner_group.local_env_runner.module.alpha) == pytest.approx(seen[-1])
    restored.stop()


@pytest.mark.parametrize("name", ["a2c", "aialp_ap"])
def test_training_does_not_depend_on_the_block_size(name: str) -> None:
    results = []
    for size in (7, 8192):
        algorithm = make_method(
            name, agent={"block_items": size}, options={"alpha": AlphaSettings(shape="evidence", start=0.4)}
        )
        algorithm.rounds = 12
        algorithm.train()
        assert algorithm.updates > 5
        results.append(algorithm.policy_weights())
        algorithm.stop()
    # The gradient of the bias of attention keys is zero up to rounding, which Adam amplifies.
    same = {key: value for key, value in results[0].items() if not key.endswith("qkv.bias")}
    assert all(torch.allclose(value, results[1][key], atol=1e-5) for key, value in same.items())


def test_local_runner_shares_the_tensors_of_the_learner(tmp_path: Path) -> None:
    algorithm = make_method("aialp_ap", options={"alpha": AlphaSettings(start=0.2, steps=100)})
    algorithm.rounds = 8

    def shared() -> bool:
        learning = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped().state_dict(keep_vars=True)
        acting = algorithm.env_runner_group.local_env_runner.module.state_dict(keep_vars=True)
        assert (
            "policy.encoder.items.id.weight" in acting and "alpha" in acting and "critic.value.0.weight" not in acting
        )
        return all(tensor.data_ptr() == learning[name].data_ptr() for name, tensor in acting.items())

    algorithm.train()
    assert shared()
    algorithm.save_to_path(str(tmp_path / "here"))
    algorithm.train()
    algorithm.restore_from_path(str(tmp_path / "here"))
    assert shared()
    algorithm.stop()


def test_update_with_a_gradient_that_is_not_finite_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = make_algorithm()
    algorithm.rounds = 8
    algorithm.train()
    before = algorithm.policy_weights()
    rewards = algorithm.replay._columns["rewards"]  # type: ignore[attr-defined]
    kept = rewards.copy()
    rewards[:] = np.nan
    algorithm._update(1)
    assert "not finite" in caplog.text
    after = algorithm.policy_weights()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    rewards[:] = kept
    algorithm._update(1)
    after = algorithm.policy_weights()
    assert not all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(torch.isfinite(value).all() for value in after.values())
    algorithm.stop()
