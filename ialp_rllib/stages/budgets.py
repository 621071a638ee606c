"""Budgets of training online: equal samples, or equal updates (``adapt.budgets``).

With budget ``samples`` a method makes ``agent.updates_per_step`` updates after each step of all parallel users. With
budget ``updates`` it makes one update per environment step, as the publication reads, for two epochs.
"""

from __future__ import annotations

from dataclasses import replace

from ialp_rllib.agent.methods import method
from ialp_rllib.settings import Settings


def budgets_of(settings: Settings, name: str) -> list[str]:
    """The budgets that a method is run with.

    Equal updates are for methods that learn, and whose number of updates can be chosen: REINFORCE uses each transition
    once.
    """
    spec = method(name)
    return [budget for budget in settings.adapt.budgets if budget == "samples" or (spec.learns and spec.replays)]


def budget_settings(settings: Settings, budget: str) -> Settings:
    """The settings of training runs of one budget."""
    if budget == "samples":
        return settings
    runtime = settings.runtime
    runners = 1 if runtime.local_mode else max(1, runtime.env_runners)
    steps = min(settings.adapt.env_steps, 2 * settings.adapt.epoch_steps)
    return replace(
        settings,
        agent=replace(settings.agent, updates_per_step=settings.agent.envs * runners),
        adapt=replace(settings.adapt, env_steps=steps),
    )
