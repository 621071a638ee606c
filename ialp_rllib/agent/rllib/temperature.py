"""The temperature at which evaluations sample from a policy: the one with the highest return in the validation world.

At temperature 1 a sampled policy mostly shows how certain it is of itself. Which temperature is best is chosen with
users that are neither trained nor tested on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm

from ialp_rllib.agent.rllib.measuring import act_at, measure_both, play
from ialp_rllib.users.simulator import spread_over_users


def evaluate(algorithm: Algorithm, runners: Any) -> tuple[dict[str, Any], int, int]:
    """The ``custom_evaluation_function``: :func:`.measuring.measure_both` at a temperature that is chosen first.

    It is chosen where the configuration names a validation world and several temperatures, and
    ``algorithm.chooses_temperature`` is set; otherwise the latest one stays.
    """
    config = algorithm.config
    if config.validation and len(config.temperatures) > 1 and algorithm.chooses_temperature and runners:
        local = runners.num_remote_env_runners() == 0
        seed, choices = config.evaluation_seed, config.temperatures
        algorithm.temperature = runners.foreach_env_runner(
            lambda runner: choose(runner, seed, choices), local_env_runner=local
        )[0]
    return measure_both(algorithm, runners)


def choose(runner: Any, seed: int, temperatures: tuple[float, ...]) -> float:
    """The temperature with the highest mean return; of equal ones the first.

    All are played side by side: one rollout in an environment of N episodes for each of them, with the same users.

    Args:
        runner: an evaluation runner of N environments.
        seed: of the episodes, their users, and the sampled actions.
        temperatures: the choices.
    """
    n, count = runner.num_envs, len(temperatures)
    env = runner.validation_env(n * count)
    starts = np.tile(spread_over_users(n, len(env.sim.world.users), seed), count)
    share = torch.tensor(temperatures, device=runner.device).repeat_interleave(n)
    episodes = play(runner, env, starts, seed, lambda batch: act_at(runner.module, batch, share))
    means = episodes.returns.reshape(count, n).mean(1)
    return float(temperatures[int(means.argmax())])
