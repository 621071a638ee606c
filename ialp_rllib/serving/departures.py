"""Settings of a run by which a service learns otherwise, and how: what `ialp export` warns of.

The service has one learner, that of A-iALP_ap (:func:`ialp_rllib.agent.rllib.alone.mixture_config`): ``agent.*`` and
``adapt.alpha.*`` are carried as they are, and what ``adapt.critic`` learnt is in the weights. Transitions of the run
stay behind: its users are simulated, or those of the log, and an exported policy would hold what they did.
"""

from __future__ import annotations

from ialp_rllib.agent.method import Method
from ialp_rllib.settings import Settings

LOSS = Method.objective
"""The objective of the service's learner."""


def departures(settings: Settings, spec: Method, beta: str) -> dict[str, str]:
    """Settings by which the run's policy learnt, or would have learnt on, and the service's otherwise.

    Args:
        settings: of the run.
        spec: the method that is exported.
        beta: what the learning policy begins with, ``run`` or ``theta``, see :data:`.export.BETAS`.

    Returns:
        Name of the setting -> what the service does instead, in words; empty: it learns on as the run did.
    """
    found: dict[str, str] = {}
    agent, adapt, goes_on = settings.agent, settings.adapt, beta == "run" and spec.learns
    if spec.learns and (spec.objective != LOSS or spec.judge_selects):
        found["adapt.methods"] = f"has {spec.title}, which learns in a way of its own; the service learns as A-iALP_ap"
    if adapt.rollout_steps and "adapt.rollout_steps" in spec.settings and not goes_on:
        instead = f"the first update is after agent.warmup = {agent.warmup} transitions"
        found["adapt.rollout_steps"] = f"is {adapt.rollout_steps} in the run; in the service {instead}"
    if adapt.offline_share and "adapt.offline_share" in spec.settings:
        instead = "the service's batches are of its own users alone"
        found["adapt.offline_share"] = f"is {adapt.offline_share:g} in the run; {instead}"
        if adapt.offline_from != "start" and "adapt.offline_from" in spec.settings:
            found["adapt.offline_from"] = f"is {adapt.offline_from} in the run; the service mixes nothing in"
        if agent.calibration:
            found["agent.calibration"] = f"is {agent.calibration:g}; no transition of the service carries a return"
    for name, steps in (("entropy", agent.entropy_steps), ("anchor", agent.anchor_steps)):
        if steps and goes_on:
            found[f"agent.{name}_steps"] = f"is {steps}, counted anew from the first transition of the service"
    if agent.anchor and not spec.theta:
        found["agent.anchor"] = f"is {agent.anchor:g}, without effect in the run; the service holds pi_beta to pi_theta"
    return found
