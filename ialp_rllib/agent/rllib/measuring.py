"""Measurements in the test world, through RLlib's ``Algorithm.evaluate()``, and measures of what is recommended."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS


def measure_both(algorithm: Algorithm, runners: Any) -> tuple[dict[str, Any], int, int]:
    """RLlib's hook for ``Algorithm.evaluate()``: greedy and sampled play in the test world, one episode per place."""
    seed = algorithm.config.evaluation_seed
    local = runners.num_remote_env_runners() == 0
    results, steps = {}, 0
    for how in ("greedy", "sampled"):
        parts = runners.foreach_env_runner(lambda runner, how=how: runner.measure(how, seed), local_env_runner=local)
        results[how] = parts[0]  # every runner plays the same episodes: one answer is enough
        steps += int(parts[0]["length"] * parts[0]["episodes"])
    metrics = runners.foreach_env_runner(lambda runner: runner.get_metrics(), local_env_runner=local)
    algorithm.metrics.aggregate(metrics[:1], key=(EVALUATION_RESULTS, ENV_RUNNER_RESULTS))
    return results, steps, steps
