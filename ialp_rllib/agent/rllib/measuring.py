"""Measurements in the test world, through RLlib's ``Algorithm.evaluate()``, and measures of what is recommended."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS

MEASURES = ("return", "length", "reward_per_step", "coverage", "effective_items")


def spread(items: np.ndarray, n_items: int) -> dict[str, float]:
    """How far recommendations are spread over the catalogue.

    ``coverage``: share of the catalogue's items that were recommended at least once (catalogue coverage of Ge,
    Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and serendipity",
    RecSys 2010; EasyRL4Rec's CV).

    ``effective_items``: Hill number of order 1, the number of items that would be as diverse were they recommended
    equally often (Hill, "Diversity and evenness", Ecology 54, 1973). With p_i the share of item i:

    .. math:: exp(-\\sum_i p_i \\ln p_i)

    No more items than recommendations: both tend to be higher where more recommendations were made.

    Args:
        items: ``(M,)`` the items recommended, M >= 1.
        n_items: size of the catalogue.
    """
    counts = np.bincount(items, minlength=n_items)
    shares = counts[counts > 0] / len(items)
    return {"coverage": len(shares) / n_items, "effective_items": float(np.exp(-(shares * np.log(shares)).sum()))}


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
