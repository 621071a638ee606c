"""What a learning method earns while it learns, beside references that were ready on the first day.

Rewards of training come from the train world, where the method explores. A reference does not learn; its reward per
step in the train world is measured once, so that its sum over steps is a straight line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import method_order
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.results.curves import curve

REACHED = ("random", "popularity", "best_list", "warm", "lea", "judge_direct", "model_greedy")
"""The references whose return a learning method has to reach."""
_BAR = ("warm", "best_list", "popularity", "random")  # the one to catch up with: the first of them that was measured


class Balance(NamedTuple):
    """Reward earned while learning, less what a reference earns in as many steps.

    Attributes:
        steps: ``(n,)`` environment steps.
        ahead: ``(n,)``, the difference of the sums of rewards: negative where the method is behind.
        most_behind: the largest shortfall, 0 if there is none: what is lost until the method earns as much per step.
        at: the step of it.
        level: the step from which on the shortfall is made good; NaN if it never is.
    """

    steps: np.ndarray
    ahead: np.ndarray
    most_behind: float
    at: float
    level: float


def earned(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Method -> sum of its rewards over environment steps, mean over the seeds, from 0 on.

    Args:
        curves: rows of ``curves``.

    Returns:
        Columns ``x`` and ``mean``; only methods that learn and whose rewards were summed.
    """
    train = curves[(curves["series"] == "train") & (curves["env_steps"] > 0)].dropna(subset=["reward_sum"])
    lines = {}
    for method in method_order(train["method"]):
        line = curve(train[train["method"] == method], "reward_sum")[["x", "mean"]]
        lines[method] = pd.concat([pd.DataFrame({"x": [0], "mean": [0.0]}), line], ignore_index=True)
    return {method: line for method, line in lines.items() if len(line) > 1}


def rates(curves: pd.DataFrame) -> dict[str, float]:
    """Reference -> its reward per step in the train world, mean over the seeds.

    Args:
        curves: rows of ``curves``.
    """
    still = curves[(curves["series"] == "train") & (curves["env_steps"] == 0)].dropna(subset=["reward_per_step"])
    means = still.groupby("method")["reward_per_step"].mean()
    return {method: float(means[method]) for method in method_order(still["method"]) if is_reference(method)}


def bar(known: dict[str, float]) -> str | None:
    """The reference that stands for what one has without learning online: the warm start, or the best simpler one."""
    return next((name for name in _BAR if name in known), None)


def balance(line: pd.DataFrame, rate: float) -> Balance:
    """A method's sum of rewards against a reference's.

    Args:
        line: see :func:`earned`.
        rate: the reference's reward per step.
    """
    steps = line["x"].to_numpy(float)
    ahead = line["mean"].to_numpy(float) - rate * steps
    lowest = int(ahead.argmin())
    later = np.flatnonzero(ahead[lowest:] >= 0)
    level = steps[lowest + later[0]] if len(later) else np.nan
    return Balance(steps, ahead, max(0.0, -float(ahead[lowest])), float(steps[lowest]), float(level))


def steps_to_reach(results: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Environment steps until the greedy policy has the return of each reference in the test world.

    A seed counts from its first measurement with the mean return of the reference, or more.

    Args:
        results: rows of ``results``.
        curves: rows of ``curves``.

    Returns:
        Columns ``method``, ``reference``, ``target`` (its return) and ``steps``, the median over the seeds (the upper
        one of two): infinite where the return is never reached.
    """
    greedy = results[(results["policy"] == "greedy") & results["method"].isin(REACHED)]
    targets = greedy[greedy["epoch"] == "0"].groupby("method")["return"].mean()
    points = curves[curves["series"] == "test_greedy"].dropna(subset=["return"])
    rows = []
    for method in learners(curves):
        runs = points[points["method"] == method]
        for reference in method_order(targets.index):
            reached = runs[runs["return"] >= targets[reference]].groupby("seed")["env_steps"].min()
            steps = [float(reached.get(seed, np.inf)) for seed in sorted(set(runs["seed"]))]
            if steps:
                median = sorted(steps)[len(steps) // 2]
                rows.append((method, reference, float(targets[reference]), median))
    return pd.DataFrame(rows, columns=["method", "reference", "target", "steps"])


def learners(curves: pd.DataFrame) -> list[str]:
    """The methods that took environment steps, in the order of the tables."""
    return method_order(curves.loc[curves["env_steps"] > 0, "method"])
