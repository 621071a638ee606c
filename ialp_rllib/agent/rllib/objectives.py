"""What a method minimises: from the configuration, a batch and the module's outputs to one number.

An objective returns the total loss and what the learning curve shows of it. The formulas themselves are in
:mod:`ialp_rllib.agent.policy.losses`; what a module gives is one number per transition, see
:mod:`ialp_rllib.agent.rllib.modules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ialp_rllib.agent.policy import losses
from ialp_rllib.agent.policy.trajectories import RETURNS
from ialp_rllib.agent.rllib.modules import BASELINE, DIFFERENCE, ENTROPY, LOG_PROB, NEXT_VALUE, RATIO, VALUE, Q
from ialp_rllib.settings import AgentSettings

ENTROPY_WEIGHT = "entropy_weight"
Parts = dict[str, Tensor]
Objective = Callable[[Any, dict[str, Tensor], Parts], tuple[Tensor, Parts]]


def actor_critic(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """L = L_A + L_Q (Eq. 10), less the entropy bonus; ``config.agent`` chooses the forms.

    Where the module compares theta and beta: also ``gain``, how much better beta is than theta, by this batch.
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
    parts = {"actor_loss": actor, "critic_loss": critic, "entropy": entropy}
    if DIFFERENCE in out:
        with torch.no_grad():
            parts["gain"] = losses.gain(out[DIFFERENCE], out[RATIO], out[Q], target).mean()
    return actor - _weight(config, out) * entropy + critic, parts


def q_learning(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """The squared TD error of Q-learning.

    Squared, as L_Q of the other methods; Mnih et al. 2015 clip the error to +-1 in place of it (Huber).
    """
    loss = losses.critic_loss(out[Q], td_target(config, batch, out))
    return loss, {"critic_loss": loss}


def reinforce(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """REINFORCE: the policy gradient, less the entropy bonus; with a baseline, its squared error."""
    returns = batch[RETURNS].float()
    baseline = out.get(BASELINE, torch.zeros_like(returns))
    actor = losses.reinforce(out[LOG_PROB], returns, baseline)
    entropy = out[ENTROPY].mean()
    loss, parts = actor - _weight(config, out) * entropy, {"actor_loss": actor, "entropy": entropy}
    if BASELINE in out:
        parts["critic_loss"] = (returns - baseline).square().mean()
        loss = loss + parts["critic_loss"]
    return loss, parts


def _weight(config: Any, out: Parts) -> Tensor | float:
    """Of the entropy bonus: what the learner says, or the settings where there is no learner."""
    return out.get(ENTROPY_WEIGHT, config.agent.entropy)


def entropy_weight(agent: AgentSettings, env_steps: int) -> float:
    """Weight of the entropy bonus after so many environment steps: from ``entropy`` to ``entropy_end``, or constant."""
    if not agent.entropy_steps:
        return agent.entropy
    return agent.entropy + (agent.entropy_end - agent.entropy) * min(env_steps / agent.entropy_steps, 1.0)


@torch.no_grad()
def td_target(config: Any, batch: dict[str, Tensor], out: Parts) -> Tensor:
    """The TD target of a batch from the value of its next states, ``(B,)``."""
    terminated = batch[Columns.TERMINATEDS].float()
    return losses.target(batch[Columns.REWARDS].float(), terminated, out[NEXT_VALUE], config.agent.gamma)
