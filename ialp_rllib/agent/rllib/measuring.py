"""Evaluation in the test world through RLlib's ``Algorithm.evaluate()``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from torch import Tensor

from ialp_rllib.agent.policy.exploration import require_allowed, require_items, row_blocks, sample, sharpen
from ialp_rllib.agent.rllib.on_candidates import select
from ialp_rllib.errors import InputError
from ialp_rllib.results.measures import cold_share, diversity, standard_error
from ialp_rllib.results.sessions import EXAMPLES
from ialp_rllib.users.simulator import spread_over_users

MODES = ("greedy", "sampled")


class Episodes(NamedTuple):
    """Exactly one episode of each of N environments, in T steps of them all.

    Attributes:
        user: ``(N,)``, the user, as an index of the catalogue.
        start: ``(N,)``, the first item of the session.
        items: ``(T, N)``, the items that were recommended.
        rewards: ``(T, N) float64``, 0 after the end of an episode.
        running: ``(T, N) bool``, whether the episode had not ended before the step.
        prompts: number of prompts to a judge.
    """

    user: np.ndarray
    start: np.ndarray
    items: np.ndarray
    rewards: np.ndarray
    running: np.ndarray
    prompts: int = 0

    @property
    def returns(self) -> np.ndarray:
        """``(N,)``, undiscounted."""
        total: np.ndarray = self.rewards.sum(0)
        return total

    @property
    def lengths(self) -> np.ndarray:
        """``(N,)``, number of steps."""
        steps: np.ndarray = self.running.sum(0)
        return steps

    def examples(self) -> list[dict[str, Any]]:
        """The first episodes as rows of :data:`ialp_rllib.results.sessions.SESSIONS`, without an epoch."""
        return [
            {
                "episode": episode,
                "user": int(self.user[episode]),
                "start": int(self.start[episode]),
                "step": step + 1,
                "item": int(self.items[step, episode]),
                "reward": float(self.rewards[step, episode]),
            }
            for episode in range(min(EXAMPLES, len(self.user)))
            for step in range(int(self.lengths[episode]))
        ]


def measure_both(algorithm: Algorithm, runners: Any) -> tuple[dict[str, Any], int, int]:
    """Evaluate the greedy and the sampled policy: the ``custom_evaluation_function`` of the algorithm.

    ``evaluate()`` and the key ``evaluation`` of training results then hold, below ``env_runners``, the results of
    :func:`measure` by mode, and under RLlib's own names those of the greedy policy: ``episode_return_mean``,
    ``episode_return_min``, ``episode_return_max``, the same for ``episode_len``, and ``num_episodes``. Sampled is the
    policy at ``algorithm.temperature``. The greedy policy's example sessions are left in ``algorithm.sessions``.

    Args:
        runners: the evaluation runners; None, where no evaluation is configured: the training runners evaluate, in the
            training environment.

    Returns:
        The results, and the number of steps of both, as environment and agent steps.
    """
    runners = runners or algorithm.env_runner_group
    seed = algorithm.config.evaluation_seed
    local = runners.num_remote_env_runners() == 0
    temperature = getattr(algorithm, "temperature", 1.0)
    results: dict[str, Any] = {}
    steps = 0
    for mode in MODES:
        parts = runners.foreach_env_runner(
            lambda runner, m=mode: measure(runner, m, seed, temperature), local_env_runner=local
        )
        if not parts:
            raise RuntimeError("no evaluation runner answered")
        results[mode], episodes = parts[0]  # all runners play the same episodes
        steps += int(episodes.lengths.sum())
        algorithm.measuring_prompts += episodes.prompts
        if mode == "greedy":
            results |= _as_rllib(episodes)
            algorithm.sessions = episodes.examples()
    metrics = MetricsLogger()
    metrics.log_dict(results, window=1)
    algorithm.metrics.aggregate([metrics.reduce()], key=(EVALUATION_RESULTS, ENV_RUNNER_RESULTS))
    return results, steps, steps


def measure_training_world(algorithm: Algorithm, episodes: int) -> dict[str, float]:
    """What the greedy policy earns in the world that methods learn in, which a method that does not learn never plays.

    Args:
        episodes: at least as many are played.

    Returns:
        ``return`` and ``length``, means over the episodes, and ``reward_per_step``.
    """
    group, seed = algorithm.env_runner_group, algorithm.config.evaluation_seed
    local = group.num_remote_env_runners() == 0
    returns, lengths = np.zeros(0), np.zeros(0)
    while len(returns) < episodes:
        parts = group.foreach_env_runner(lambda runner, s=seed: measure(runner, "greedy", s)[1], local_env_runner=local)
        if not parts:
            raise RuntimeError("no runner of the train world answered")
        returns, lengths = np.append(returns, parts[0].returns), np.append(lengths, parts[0].lengths)
        seed += 1  # other users
    return {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
    }


def measure(runner: Any, mode: str, seed: int, temperature: float = 1.0) -> tuple[dict[str, float], Episodes]:
    """Evaluate the policy of a :class:`.runner.ColumnarEnvRunner` on exactly one episode per environment.

    Args:
        mode: ``greedy`` or ``sampled``.
        seed: seed of the environment, of the sampled actions, and of the choice of users
            (:func:`ialp_rllib.users.simulator.spread_over_users`), which is the same for every policy.
        temperature: of the sampled policy, see :func:`act_at`.

    Returns:
        ``return`` and ``length``, means over episodes; ``reward_per_step``; ``episodes``, their number; ``coverage``
        and ``effective_items`` of their items (:func:`ialp_rllib.results.measures.diversity`); with several users
        ``return_se``; where some items are cold ``cold_share``; and of the sampled policy ``temperature``. Second, the
        episodes.

    Raises:
        InputError: the environment is not one of simulated users.
    """
    env, n = runner.env, runner.num_envs
    if not hasattr(env, "sim"):
        raise InputError("evaluation", f"in a {type(env).__name__}", "an environment of simulated users")
    world, training = env.sim.world, runner.get_rollout_state()
    starts = spread_over_users(n, len(world.users), seed)
    if mode == "greedy" or temperature == 1:
        name = "greedy" if mode == "greedy" else "categorical"
        episodes = play(runner, env, starts, seed, lambda batch: runner.module.act(batch, name))
    else:
        share = torch.full((n,), temperature, device=runner.device)
        episodes = play(runner, env, starts, seed, lambda batch: act_at(runner.module, batch, share))
    runner.restart()
    runner.set_rollout_state(training)  # of a runner that also samples for training: it goes on where it was
    items, cold = episodes.items[episodes.running], runner.config.cold
    error = standard_error(episodes.returns, episodes.user)
    results = {
        "return": float(episodes.returns.mean()),
        "length": float(episodes.lengths.mean()),
        "reward_per_step": float(episodes.returns.sum() / episodes.lengths.sum()),
        "episodes": n,
        **diversity(items, world.n_items),
        **({"return_se": error} if np.isfinite(error) else {}),
        **({"cold_share": cold_share(items, np.array(cold))} if cold else {}),
        **({"temperature": temperature} if mode == "sampled" else {}),
    }
    return results, episodes


def play(runner: Any, env: Any, starts: np.ndarray, seed: int, act: Callable[[Tensor], Tensor]) -> Episodes:
    """One episode of each user of ``starts``, ``(N,)`` indices of the world's users, in ``env`` of N environments.

    Args:
        act: ``(N, 1 + L)`` observations -> ``(N,)`` items, or candidates of which a judge selects one.
    """
    observation, _ = env.reset(seed=seed, options={"start": starts})
    user, start = env.sim.user.copy(), env.sim.session[:, -1].copy()
    running = np.ones(len(starts), bool)
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    prompts = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = runner.module
        draws = module.draw_sessions(len(starts)) if module.by_session else None
        while running.any():
            with nullcontext() if draws is None else module.acting_as(draws):
                actions = act(torch.from_numpy(observation).to(runner.device)).cpu().numpy()
            observation, reward, terminated, truncated, info = env.step(actions)
            shown = info.get("action", actions)  # a judge may have selected among candidates
            steps.append((shown, np.where(running, reward, 0).astype(np.float64), running))
            prompts += info.get("prompts", 0)
            running = running & ~(terminated | truncated)
    items, rewards, was_running = (np.stack(part) for part in zip(*steps, strict=True))
    return Episodes(user, start, items, rewards, was_running, prompts)


def act_at(module: Any, observation: Tensor, temperature: Tensor) -> Tensor:
    r"""Items drawn from a module's acting policy :math:`\pi` at a temperature: in proportion to :math:`\pi^{1/T}`.

    The acting policy is what a module samples from: of a mixture the mixture, of DQN epsilon-greedy.

    Args:
        module: a :class:`.modules.ActorCriticModule`.
        observation: ``(B, 1 + L) int``.
        temperature: ``(B,)``, T of each row; 1: the policy itself. Of a policy on candidates, that of what it draws
            from them (:func:`ialp_rllib.agent.policy.shortlists.choose`).

    Returns:
        ``(B,) int64``.
    """
    require_allowed(observation, module.recent, module.n_items)
    with torch.inference_mode():
        if getattr(module, "candidates", None) is not None:
            return require_items(select(module, observation, "sampled", temperature), module.n_items)
        parts = [
            sample(sharpen(module.acting_probs(observation[rows]), temperature[rows, None]))
            for rows in row_blocks(len(observation), module.n_items)
        ]
        return require_items(torch.cat(parts), module.n_items)


def _as_rllib(episodes: Episodes) -> dict[str, float]:
    """Return and length of episodes under RLlib's names."""
    results: dict[str, float] = {"num_episodes": len(episodes.user)}
    for name, values in (("episode_return", episodes.returns), ("episode_len", episodes.lengths)):
        results |= {f"{name}_mean": values.mean(), f"{name}_min": values.min(), f"{name}_max": values.max()}
    return {name: float(value) for name, value in results.items()}
