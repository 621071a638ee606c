"""The learner: updates of the networks by the method's objective, and of the target network."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import torch
from ray.rllib.core import ALL_MODULES, DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, NUM_ENV_STEPS_TRAINED
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from torch import Tensor

from ialp_rllib.agent.rllib import private
from ialp_rllib.agent.rllib.objectives import ENTROPY_WEIGHT, entropy_weight

log = logging.getLogger(__name__)


class IALPLearner(TorchLearner):
    """Minimises ``config.objective``, of see :mod:`.objectives`; actor and critic have step sizes of their own.

    Columns are learnt from in a loop of its own: RLlib's takes the batch apart into nested dictionaries, checks every
    gradient twice and logs every minibatch, which at 300 items costs as much as the update itself. Episodes, which are
    RLlib's default, go its way.
    """

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        agent = config.agent
        named = [(n, p) for n, p in self.module[module_id].unwrapped().named_parameters() if p.requires_grad]
        for name, lr in (("actor", agent.actor_lr), ("critic", agent.critic_lr)):
            params = [p for n, p in named if n.startswith("policy.actor.") == (name == "actor")]
            if not params:  # a fixed policy
                continue
            optimizer = torch.optim.Adam(params, lr=lr, fused=True)
            self.register_optimizer(
                module_id=module_id, optimizer_name=name, optimizer=optimizer, params=params, lr_or_lr_schedule=lr
            )

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        # RLlib's own way turns the whole state dict into tensors, the parameters' indices and the step size among it:
        # torch then finds no parameter for the moments and drops them without a word. Take the moments alone.
        for name, saved in state.items():
            optimizer = private.optimizer(self, name)
            moments = convert_to_torch_tensor(saved["state"]["state"], device=self._device)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def update(self, batch: Any = None, *, training_data: TrainingData | None = None, **options: Any) -> Any:
        """Updates on minibatches of ``minibatch_size`` rows, in their order (None: one update on all of them)."""
        data = training_data or TrainingData(batch=batch)
        if data.batch is None:
            return super().update(training_data=data, **options)
        timesteps = options.get("timesteps") or {}
        self.before_gradient_based_update(timesteps=timesteps)
        private.count_update(self)
        columns = {
            name: torch.from_numpy(values).to(self._device)
            for name, values in data.batch.policy_batches[DEFAULT_MODULE_ID].items()
        }
        rows = data.batch.count
        size = options.get("minibatch_size") or rows
        for start in range(0, rows - size + 1, size):
            minibatch = {DEFAULT_MODULE_ID: {name: values[start : start + size] for name, values in columns.items()}}
            losses = self.compute_losses(fwd_out=self.module.forward_train(minibatch), batch=minibatch)
            self.apply_gradients(self.compute_gradients(losses))
        self.metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), rows, reduce="sum")
        return self.metrics.reduce()

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        steps = int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        self._entropy_weight = torch.tensor(entropy_weight(self.config.agent, steps))
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no mapping)
            self.module[module_id].unwrapped().advance(steps)

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        loss, parts = config.objective(config, batch, {**fwd_out, ENTROPY_WEIGHT: self._entropy_weight})
        self.latest = {name: value.detach() for name, value in parts.items()}
        self.module[module_id].unwrapped().learnt(self.latest)
        return loss

    def postprocess_gradients(self, gradients_dict: dict[str, Any]) -> dict[str, Any]:
        return gradients_dict  # they are clipped where they are applied

    def apply_gradients(self, gradients_dict: dict[str, Any]) -> None:
        """Clip each optimizer's gradients to ``agent.gradient_clip``, and step; an infinite or NaN gradient is skipped.

        What a method has no use for (DQN's actor) has no gradient and stays as it is.
        """
        agent = self.config.agent
        for optimizer in self._optimizer_parameters:
            params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if not params:
                continue
            norm = torch.nn.utils.clip_grad_norm_(params, agent.gradient_clip or torch.inf, foreach=True)
            if torch.isfinite(norm):
                optimizer.step()
            else:
                log.warning("an update is skipped: its gradient is not finite")
        with torch.no_grad():
            for target, online in self._followed:
                torch._foreach_lerp_(target, online, agent.target_rate)

    @cached_property
    def _followed(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Parameters of target networks, and what they follow: to collect them takes as long as to move them."""
        modules = [self.module[module_id].unwrapped() for module_id in self.module.keys()]  # noqa: SIM118
        return [
            ([*module.target.parameters()], [*module.policy.parameters(), *module.critic.parameters()])
            for module in modules
            if module.target is not None
        ]
