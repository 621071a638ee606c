"""The learner: one update of the networks by the method's objective, and of the target network."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from torch import Tensor


class IALPLearner(TorchLearner):
    """Minimises ``config.objective``, of :mod:`ialp_rllib.agent.objectives`; actor and critic have own step sizes."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        agent = config.agent
        named = [(n, p) for n, p in self.module[module_id].unwrapped().named_parameters() if p.requires_grad]
        for name, lr in (("actor", agent.actor_lr), ("critic", agent.critic_lr)):
            params = [p for n, p in named if n.startswith("policy.actor.") == (name == "actor")]
            if not params:  # a fixed policy
                continue
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
            self.module[module_id].unwrapped().advance(steps)

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        loss, parts = config.objective(config, batch, fwd_out)
        self.latest = {name: value.detach() for name, value in parts.items()}
        self.module[module_id].unwrapped().learnt(self.latest)
        return loss

    def compute_gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # What a method has no use for (DQN's actor) gets no gradient, and RLlib expects one of every parameter.
        gradients = super().compute_gradients(*args, **kwargs)
        return {name: gradient for name, gradient in gradients.items() if gradient is not None}

    def apply_gradients(self, gradients_dict: dict[str, Any]) -> None:
        super().apply_gradients(gradients_dict)
        rate = self.config.agent.target_rate
        for module_id in self.module.keys():  # noqa: SIM118
            module = self.module[module_id].unwrapped()
            if module.target is not None:
                online = [*module.policy.parameters(), *module.critic.parameters()]
                with torch.no_grad():
                    torch._foreach_lerp_(list(module.target.parameters()), online, rate)
