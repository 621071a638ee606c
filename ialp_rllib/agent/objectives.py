"""What a method minimises: from the configuration, a batch and the module's outputs to one number.

An objective returns the total loss and what the learning curve shows of it. The formulas themselves are in
:mod:`ialp_rllib.agent.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ialp_rllib.agent import losses
from ialp_rllib.agent.baselines import BASELINE, CHOICE
from ialp_rllib.agent.modules import ALLOWED_NEXT, BETA, PROBS, PROBS_NEXT, Q_NEXT, THETA, Q
from ialp_rllib.agent.trajectories import RETURNS

Parts = dict[str, Tensor]
Objective = Callable[[Any, dict[str, Tensor], Parts], tuple[Tensor, Parts]]


def actor_critic(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """L = L_A + L_Q (Eq. 10), less the entropy bonus; ``config.agent`` chooses the forms.

    Where the module gives theta and beta: also ``gain``, how much better beta is than theta, by this batch.
    """
    agent = config.agent
    action, probs, q = batch[Columns.ACTIONS].long(), out[PROBS], out[Q]
    target = _target(config, batch, out)
    critic = losses.critic_loss(q, action, target)
    if agent.advantage == "all_actions":
        actor = losses.actor_all_actions(probs, q)
    else:
        form = losses.actor_td if agent.advantage == "td" else losses.actor_expected
        actor = form(probs, action, q, target, agent.advantage_clip)
    entropy = losses.entropy(probs)
    parts = {"actor_loss": actor, "critic_loss": critic, "entropy": entropy}
    if THETA in out:
        with torch.no_grad():
            parts["gain"] = losses.gain(out[THETA], out[BETA], probs, q, action, target).mean()
    return actor - agent.entropy * entropy + critic, parts


@torch.no_grad()
def _target(config: Any, batch: dict[str, Tensor], out: Parts) -> Tensor:
    if config.agent.bootstrap == "max":
        value = losses.bootstrap_max(out[Q_NEXT], out[ALLOWED_NEXT])
    else:
        value = losses.bootstrap_policy(out[Q_NEXT], out[PROBS_NEXT])
    return td_target(config, batch, value)


def q_learning(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """The squared TD error of Q-learning: the value of s' is that of the item which the module chose there.

    Squared, as L_Q of the other methods; Mnih et al. 2015 clip the error to +-1 in place of it (Huber).
    """
    value = losses.chosen(out[Q_NEXT], out[CHOICE])
    loss = losses.critic_loss(out[Q], batch[Columns.ACTIONS].long(), td_target(config, batch, value))
    return loss, {"critic_loss": loss}


def reinforce(config: Any, batch: dict[str, Tensor], out: Parts) -> tuple[Tensor, Parts]:
    """REINFORCE: the policy gradient, less the entropy bonus; with a baseline, its squared error."""
    probs, returns = out[PROBS], batch[RETURNS].float()
    baseline = out.get(BASELINE, torch.zeros_like(returns))
    actor = losses.reinforce(probs, batch[Columns.ACTIONS].long(), returns, baseline)
    entropy = losses.entropy(probs)
    loss, parts = actor - config.agent.entropy * entropy, {"actor_loss": actor, "entropy": entropy}
    if BASELINE in out:
        parts["critic_loss"] = (returns - baseline).square().mean()
        loss = loss + parts["critic_loss"]
    return loss, parts


def td_target(config: Any, batch: dict[str, Tensor], value: Tensor) -> Tensor:
    """The TD target of a batch from the value of its next states, ``(B,)``."""
    terminated = batch[Columns.TERMINATEDS].to(value.dtype)
    return losses.target(batch[Columns.REWARDS].float(), terminated, value, config.agent.gamma)
