"""Objectives of the methods: functions of the configuration, a batch and the module's outputs.

An objective returns the total loss, a scalar, and the metrics of the learning curve. The formulas are in
:mod:`ialp_rllib.agent.policy.losses`; the outputs of a module, ``(B,)`` each, are documented in
:mod:`ialp_rllib.agent.rllib.outputs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ialp_rllib.agent.policy import losses
from ialp_rllib.agent.policy.trajectories import RETURNS
from ialp_rllib.agent.rllib.outputs import (
    BASELINE,
    CONSERVATIVE,
    DIFFERENCE,
    DIVERGENCE,
    ENTROPY,
    LOG_PROB,
    NEXT_VALUE,
    RATIO,
    VALUE,
    Q,
)
from ialp_rllib.settings import AgentSettings

ENTROPY_COEFFICIENT, ANCHOR_COEFFICIENT = "entropy_coefficient", "anchor_coefficient"  # set by the learner
Outputs = dict[str, Tensor]
Metrics = dict[str, Tensor]
Objective = Callable[[Any, dict[str, Tensor], Outputs], tuple[Tensor, Metrics]]


def actor_critic(config: Any, batch: dict[str, Tensor], out: Outputs) -> tuple[Tensor, Metrics]:
    r"""Actor-critic loss, :math:`L = L_A + L_Q - c\,H(\pi) + d\,\mathrm{KL}(\pi \| \pi_0)`.

    Eq. 10 has neither the entropy bonus nor the anchor. ``config.agent.advantage`` selects the form of :math:`L_A`. The
    metrics are ``actor_loss``, ``critic_loss``, ``entropy``; if the learning policy is held to its start the mean
    ``divergence`` from it; if the batch has returns and ``agent.calibration`` is set the term ``conservative``
    (:mod:`ialp_rllib.agent.policy.calibrated`); and if the module compares pi_theta and pi_beta the mean ``gain`` of
    the batch (:func:`ialp_rllib.agent.policy.losses.gain`).
    """
    agent = config.agent
    target = td_target(config, batch, out)
    critic = losses.critic_loss(out[Q], target)
    if agent.advantage == "all_actions":
        actor = losses.actor_all_actions(out[VALUE])
    elif agent.advantage == "td":
        actor = losses.actor_td(out[LOG_PROB], out[Q], target, agent.advantage_clip)
    else:
        actor = losses.actor_expected(out[LOG_PROB], out[VALUE], target, agent.advantage_clip)
    entropy = out[ENTROPY].mean()
    metrics = {"actor_loss": actor, "critic_loss": critic, "entropy": entropy}
    loss = actor - _entropy_coefficient(config, out) * entropy + critic
    if DIVERGENCE in out:
        metrics["divergence"] = out[DIVERGENCE].mean()
        loss = loss + out.get(ANCHOR_COEFFICIENT, agent.anchor) * metrics["divergence"]
    if CONSERVATIVE in out:
        metrics["conservative"] = out[CONSERVATIVE]
        loss = loss + agent.calibration * out[CONSERVATIVE]
    if DIFFERENCE in out:
        with torch.no_grad():
            metrics["gain"] = losses.gain(out[DIFFERENCE], out[RATIO], out[Q], target).mean()
    return loss, metrics


def q_learning(config: Any, batch: dict[str, Tensor], out: Outputs) -> tuple[Tensor, Metrics]:
    """Mean squared TD error of Q-learning.

    The error is squared as in the critic loss of the other methods; Mnih et al. 2015 use the Huber loss instead.
    """
    loss = losses.critic_loss(out[Q], td_target(config, batch, out))
    return loss, {"critic_loss": loss}


def reinforce(config: Any, batch: dict[str, Tensor], out: Outputs) -> tuple[Tensor, Metrics]:
    """REINFORCE loss with entropy bonus, plus the squared error of the baseline if the module has one."""
    returns = batch[RETURNS].float()
    baseline = out.get(BASELINE, torch.zeros_like(returns))
    actor = losses.reinforce(out[LOG_PROB], returns, baseline)
    entropy = out[ENTROPY].mean()
    loss, metrics = actor - _entropy_coefficient(config, out) * entropy, {"actor_loss": actor, "entropy": entropy}
    if BASELINE in out:
        metrics["critic_loss"] = (returns - baseline).square().mean()
        loss = loss + metrics["critic_loss"]
    return loss, metrics


def _entropy_coefficient(config: Any, out: Outputs) -> Tensor | float:
    """Current coefficient as set by the learner, or the initial one outside of a learner."""
    return out.get(ENTROPY_COEFFICIENT, config.agent.entropy)


def coefficients(config: Any, env_steps: int, n_items: int) -> dict[str, Tensor]:
    """Coefficients of entropy and anchor at an update. Their clocks begin when learning does, as that of alpha.

    Args:
        config: ``agent``, and ``rollout_steps``, the environment steps before the first update.
        env_steps: number of environment steps sampled so far, those before the first update included.
        n_items: size of the catalogue, |A|.
    """
    since = max(0, env_steps - config.rollout_steps)
    return {
        ENTROPY_COEFFICIENT: torch.tensor(entropy_coefficient(config.agent, since, n_items)),
        ANCHOR_COEFFICIENT: torch.tensor(anchor_coefficient(config.agent, since)),
    }


def entropy_coefficient(agent: AgentSettings, env_steps: int, n_items: int) -> float:
    """Coefficient of the entropy in nats: linear from ``entropy`` to ``entropy_end``, or constant.

    Args:
        agent: ``entropy_steps``, the environment steps of the change, and ``entropy_unit``, of both values.
        env_steps: number of environment steps since learning began.
        n_items: size of the catalogue, |A|.
    """
    unit = math.log(max(n_items, 2)) if agent.entropy_unit == "log_items" else 1.0
    share = min(env_steps / agent.entropy_steps, 1.0) if agent.entropy_steps else 0.0
    return (agent.entropy + (agent.entropy_end - agent.entropy) * share) / unit


def anchor_coefficient(agent: AgentSettings, env_steps: int) -> float:
    """Coefficient of the KL to the policy of the start: constant, or linear to 0 over ``anchor_steps``.

    Args:
        env_steps: number of environment steps since learning began.
    """
    return agent.anchor * (max(1 - env_steps / agent.anchor_steps, 0.0) if agent.anchor_steps else 1.0)


@torch.no_grad()
def td_target(config: Any, batch: dict[str, Tensor], out: Outputs) -> Tensor:
    """TD target of a batch, ``(B,)``, see :func:`ialp_rllib.agent.policy.losses.target`."""
    terminated = batch[Columns.TERMINATEDS].float()
    return losses.target(batch[Columns.REWARDS].float(), terminated, out[NEXT_VALUE], config.agent.gamma)
