"""The learner: one update of actor and critic, and of the target network."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from torch import Tensor

from ialp_rllib.agent import losses
from ialp_rllib.agent.alpha import alpha
from ialp_rllib.agent.modules import ALLOWED_NEXT, PROBS, PROBS_NEXT, Q_NEXT, MixtureModule, Q


class IALPLearner(TorchLearner):
    """L = L_A + L_Q (Eq. 10), with the actor's and the critic's own step sizes.

    The forms of the actor's loss are in :mod:`ialp_rllib.agent.losses`; ``config.agent`` chooses.
    """

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        agent = config.agent
        named = [(n, p) for n, p in self.module[module_id].unwrapped().named_parameters() if p.requires_grad]
        for name, lr in (("actor", agent.actor_lr), ("critic", agent.critic_lr)):
            params = [p for n, p in named if n.startswith("policy.actor.") == (name == "actor")]
            optimizer = torch.optim.Adam(params, lr=lr, foreach=True)
            self.register_optimizer(
                module_id=module_id, optimizer_name=name, optimizer=optimizer, params=params, lr_or_lr_schedule=lr
            )

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        # RLlib's own way turns the whole state dict into tensors, the parameters' indices and the step size among it:
        # torch then finds no parameter for the moments and drops them without a word. Take the moments alone.
        for name, saved in state.items():
            optimizer = self._named_optimizers[name]
            moments = convert_to_torch_tensor(saved["state"]["state"], device=self._device)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        steps = int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no mapping)
            module = self.module[module_id].unwrapped()
            if isinstance(module, MixtureModule):
                module.alpha.fill_(alpha(self.config.alpha, steps))
                module.env_steps.fill_(steps)

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        agent = config.agent
        action, probs, q = batch[Columns.ACTIONS].long(), fwd_out[PROBS], fwd_out[Q]
        with torch.no_grad():
            if agent.bootstrap == "max":
                value = losses.bootstrap_max(fwd_out[Q_NEXT], fwd_out[ALLOWED_NEXT])
            else:
                value = losses.bootstrap_policy(fwd_out[Q_NEXT], fwd_out[PROBS_NEXT])
            terminated = batch[Columns.TERMINATEDS].to(value.dtype)
            target = losses.target(batch[Columns.REWARDS].float(), terminated, value, agent.gamma)
        critic = losses.critic_loss(q, action, target)
        if agent.advantage == "all_actions":
            actor = losses.actor_all_actions(probs, q)
        else:
            form = losses.actor_td if agent.advantage == "td" else losses.actor_expected
            actor = form(probs, action, q, target, agent.advantage_clip)
        entropy = losses.entropy(probs)
        self.latest = {"actor_loss": actor.detach(), "critic_loss": critic.detach(), "entropy": entropy.detach()}
        return actor - agent.entropy * entropy + critic

    def apply_gradients(self, gradients_dict: dict[str, Any]) -> None:
        super().apply_gradients(gradients_dict)
        rate = self.config.agent.target_rate
        for module_id in self.module.keys():  # noqa: SIM118
            module = self.module[module_id].unwrapped()
            if module.target is not None:
                online = [*module.policy.parameters(), *module.critic.parameters()]
                with torch.no_grad():
                    torch._foreach_lerp_(list(module.target.parameters()), online, rate)
