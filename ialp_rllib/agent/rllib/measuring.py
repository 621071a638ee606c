"""Evaluation in the test world through RLlib's ``Algorithm.evaluate()``."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS


def measure_both(algorithm: Algorithm, runners: Any) -> tuple[dict[str, Any], int, int]:
    """Evaluate the greedy and the sampled policy: the ``custom_evaluation_function`` of the algorithm.

    Returns:
        Results of :meth:`.runner.ColumnarEnvRunner.measure` by mode (``greedy``, ``sampled``), and twice the number of
        steps, as environment and agent steps.
    """
    seed = algorithm.config.evaluation_seed
    local = runners.num_remote_env_runners() == 0
    results, steps = {}, 0
    for mode in ("greedy", "sampled"):
        parts = runners.foreach_env_runner(lambda runner, m=mode: runner.measure(m, seed), local_env_runner=local)
        results[mode] = parts[0]  # all runners play the same episodes
        steps += int(parts[0]["length"] * parts[0]["episodes"])
    metrics = runners.foreach_env_runner(lambda runner: runner.get_metrics(), local_env_runner=local)
    algorithm.metrics.aggregate(metrics[:1], key=(EVALUATION_RESULTS, ENV_RUNNER_RESULTS))
    return results, steps, steps
