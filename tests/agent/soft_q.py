"""Soft Q-learning: a complete method as a plugin. With this file as ``soft_q.py`` on ``PYTHONPATH``:

ialp run sample --set 'adapt.plugins=[soft_q]' --set 'adapt.methods=[a2c, soft_q]'
"""

from __future__ import annotations

from typing import Any

import torch

from ialp_rllib.agent.methods import Method, register
from ialp_rllib.agent.policy import losses
from ialp_rllib.agent.rllib.baselines import QModule
from ialp_rllib.agent.rllib.objectives import td_target
from ialp_rllib.agent.rllib.outputs import Q

TEMPERATURE = 0.2
SOURCE = 'Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies"'


class SoftQModule(QModule):
    """Samples items in proportion to exp(Q / temperature); the greedy policy selects the highest Q-value, as in DQN."""

    def acting_probs(self, observation: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.q_values(observation) / TEMPERATURE, -1)

    def next_value(self, next_observation: torch.Tensor) -> torch.Tensor:
        return TEMPERATURE * torch.logsumexp(self.target_values(next_observation) / TEMPERATURE, 1)


def soft_q(config: Any, batch: dict[str, torch.Tensor], out: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict]:
    """Mean squared TD error."""
    loss = losses.critic_loss(out[Q], td_target(config, batch, out))
    return loss, {"critic_loss": loss}


register("soft_q", Method("Soft Q", SOURCE, module=SoftQModule, objective=soft_q))
