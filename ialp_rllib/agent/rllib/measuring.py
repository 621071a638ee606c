"""Evaluation in the test world through RLlib's ``Algorithm.evaluate()``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from ialp_rllib.errors import InputError
from ialp_rllib.results.measures import diversity
from ialp_rllib.users.simulator import spread_over_users

MODES = ("greedy", "sampled")


def measure_both(algorithm: Algorithm, runners: Any) -> tuple[dict[str, Any], int, int]:
    """Evaluate the greedy and the sampled policy: the ``custom_evaluation_function`` of the algorithm.

    ``evaluate()`` and the key ``evaluation`` of training results then hold, below ``env_runners``, the results of
    :func:`measure` by mode, and under RLlib's own names those of the greedy policy: ``episode_return_mean``,
    ``episode_return_min``, ``episode_return_max``, the same for ``episode_len``, and ``num_episodes``.

    Args:
        runners: the evaluation runners; None, where no evaluation is configured: the training runners evaluate, in the
            training environment.

    Returns:
        The results, and the number of steps of both, as environment and agent steps.
    """
    runners = runners or algorithm.env_runner_group
    seed = algorithm.config.evaluation_seed
    local = runners.num_remote_env_runners() == 0
    results: dict[str, Any] = {}
    steps = 0
    for mode in MODES:
        parts = runners.foreach_env_runner(lambda runner, m=mode: measure(runner, m, seed), local_env_runner=local)
        if not parts:
            raise RuntimeError("no evaluation runner answered")
        results[mode], episodes = parts[0]  # all runners play the same episodes
        steps += int(episodes["length"].sum())
        if mode == "greedy":
            results |= _as_rllib(episodes)
    metrics = MetricsLogger()
    metrics.log_dict(results, window=1)
    algorithm.metrics.aggregate([metrics.reduce()], key=(EVALUATION_RESULTS, ENV_RUNNER_RESULTS))
    return results, steps, steps


def measure(runner: Any, mode: str, seed: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Evaluate the policy of a :class:`.runner.ColumnarEnvRunner` on exactly one episode per environment.

    Args:
        mode: ``greedy`` or ``sampled``.
        seed: seed of the environment, of the sampled actions, and of the choice of users
            (:func:`ialp_rllib.users.simulator.spread_over_users`), which is the same for every policy.

    Returns:
        ``return`` and ``length``, means over episodes; ``reward_per_step``; ``episodes``, their number; and
        ``coverage`` and ``effective_items`` of their items (:func:`ialp_rllib.results.measures.diversity`). Second,
        ``return`` and ``length`` of each episode, ``(N,)``.

    Raises:
        InputError: the environment is not one of simulated users.
    """
    env, n = runner.env, runner.num_envs
    if not hasattr(env, "sim"):
        raise InputError("evaluation", f"in a {type(env).__name__}", "an environment of simulated users")
    world, training = env.sim.world, runner.get_rollout_state()
    observation, _ = env.reset(seed=seed, options={"start": spread_over_users(n, len(world.users), seed)})
    running = np.ones(n, bool)
    returns, lengths = np.zeros(n), np.zeros(n)
    items: list[np.ndarray] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while running.any():
            batch = torch.from_numpy(observation).to(runner.device)
            actions = runner.module.act(batch, "greedy" if mode == "greedy" else "categorical").cpu().numpy()
            observation, reward, terminated, truncated, info = env.step(actions)
            items.append(info.get("action", actions)[running])  # a judge may have selected among candidates
            returns += reward * running
            lengths += running
            running &= ~(terminated | truncated)
    runner.restart()
    runner.set_rollout_state(training)  # of a runner that also samples for training: it goes on where it was
    results = {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
        "episodes": n,
        **diversity(np.concatenate(items), world.n_items),
    }
    return results, {"return": returns, "length": lengths}


def _as_rllib(episodes: dict[str, np.ndarray]) -> dict[str, float]:
    """Return and length of episodes under RLlib's names."""
    results: dict[str, float] = {"num_episodes": len(episodes["return"])}
    for name, values in (("episode_return", episodes["return"]), ("episode_len", episodes["length"])):
        results |= {f"{name}_mean": values.mean(), f"{name}_min": values.min(), f"{name}_max": values.max()}
    return {name: float(value) for name, value in results.items()}
