"""Learner: gradient updates on the objective of a method, and updates of the target network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from ray.rllib.core import ALL_MODULES, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
)
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from torch import Tensor

from ialp_rllib.agent.policy import rows
from ialp_rllib.agent.policy.shortlists import staleness
from ialp_rllib.agent.rllib import private
from ialp_rllib.agent.rllib.objectives import coefficients

log = logging.getLogger(__name__)

_STATES = 16  # of the latest batch that say what a stale index still finds
_BESIDE = 20  # a rebuild takes effect after this part of the period
_MASS = 0.98  # of the best candidates' probability: what an index should find as long as it is in use


class IALPLearner(TorchLearner):
    """Minimises ``config.objective`` (see :mod:`.objectives`), with separate learning rates for actor and critic.

    Columnar batches are processed in a training loop of this class: RLlib's loop flattens the batch into nested
    dictionaries, checks every gradient twice and logs every minibatch, which with 300 items takes as long as the update
    itself. Lists of episodes, RLlib's default, are passed on to RLlib's loop.
    """

    _rows = 0  # trained since the last report
    _latest_loss: Tensor | float = 0.0
    latest_metrics: Mapping[str, Tensor] = MappingProxyType({})  # of the latest update

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        agent = config.agent
        named = [(n, p) for n, p in self.module[module_id].unwrapped().named_parameters() if p.requires_grad]
        for name, lr in (("actor", agent.actor_lr), ("critic", agent.critic_lr)):
            params = [p for n, p in named if n.startswith("policy.actor.") == (name == "actor")]
            if not params:  # a policy without trained parameters
                continue
            if agent.candidates.count:
                self._configure_rows(module_id, name, params, lr, named)
                continue
            optimizer = torch.optim.Adam(params, lr=lr, fused=True)
            self.register_optimizer(
                module_id=module_id, optimizer_name=name, optimizer=optimizer, params=params, lr_or_lr_schedule=lr
            )

    def _configure_rows(
        self, module_id: str, name: str, params: list[Tensor], lr: float, named: list[tuple[str, Any]]
    ) -> None:
        """Optimizers of what has a row per item, whose gradients are sparse, and of the rest."""
        chosen = {id(parameter) for parameter in params}
        for optimizer in rows.make_optimizers([(n, p) for n, p in named if id(p) in chosen], lr):
            own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            full = f"{name}_rows" if isinstance(optimizer, torch.optim.SparseAdam) else name
            self.register_optimizer(
                module_id=module_id, optimizer_name=full, optimizer=optimizer, params=own, lr_or_lr_schedule=lr
            )

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        # RLlib converts the whole state dict to tensors, including parameter indices and learning rate; PyTorch then
        # does not match the moments to parameters and drops them silently. Restore the moments alone.
        for name, saved in state.items():
            optimizer = private.optimizer(self, name)
            moments = convert_to_torch_tensor(saved["state"]["state"], device=self._device)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": rows.restored(moments, optimizer), "param_groups": groups})

    def update(self, batch: Any = None, *, training_data: TrainingData | None = None, **options: Any) -> Any:
        """Make one update per minibatch of ``minibatch_size`` consecutive rows; None: one update on the whole batch."""
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
        count = data.batch.count
        size = options.get("minibatch_size") or count
        for start in range(0, count - size + 1, size):
            minibatch = {DEFAULT_MODULE_ID: {name: values[start : start + size] for name, values in columns.items()}}
            losses = self.compute_losses(fwd_out=self.module.forward_train(minibatch), batch=minibatch)
            self.apply_gradients(self.compute_gradients(losses))
            if self.config.agent.candidates.count:
                self._keep_index(minibatch[DEFAULT_MODULE_ID][Columns.OBS])
        self._rows += count
        return {}  # see report()

    def report(self) -> dict[str, Any]:
        """RLlib's metrics since the last report: rows trained, and the losses of the latest update.

        Called once per training step instead of after every update, to save time.
        """
        latest = {name: float(value) for name, value in self.latest_metrics.items()}
        self.metrics.log_dict(
            {**latest, Learner.TOTAL_LOSS_KEY: float(self._latest_loss)}, key=DEFAULT_MODULE_ID, window=1
        )
        for key in ((ALL_MODULES, NUM_ENV_STEPS_TRAINED), (DEFAULT_MODULE_ID, NUM_MODULE_STEPS_TRAINED)):
            self.metrics.log_value(key, self._rows, reduce="sum")
        for key in (
            (ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME),
            (DEFAULT_MODULE_ID, NUM_MODULE_STEPS_TRAINED_LIFETIME),
        ):
            self.metrics.log_value(key, self._rows, reduce="lifetime_sum")
        self._rows = 0
        results: dict[str, Any] = self.metrics.reduce()
        return results

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        steps = int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        self._coefficients = coefficients(self.config, steps, self.module[DEFAULT_MODULE_ID].unwrapped().n_items)
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is not a mapping)
            self.module[module_id].unwrapped().before_update(steps)

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        outputs = {**fwd_out, **self._coefficients}
        loss, metrics = config.objective(config, batch, outputs)
        self._latest_loss = loss.detach()
        self.latest_metrics = {name: value.detach() for name, value in metrics.items()}
        lag = getattr(self.module[module_id].unwrapped(), "lag", None)
        if lag is not None and bool(lag.coverage >= 0):
            stale = {"candidates_coverage": lag.coverage.clone(), "candidates_mass": lag.mass.clone()}
            self.latest_metrics = {**self.latest_metrics, **stale}
        self.module[module_id].unwrapped().after_loss(self.latest_metrics)
        return loss

    def postprocess_gradients(self, gradients_dict: dict[str, Any]) -> dict[str, Any]:
        return gradients_dict  # clipped in apply_gradients

    def apply_gradients(self, gradients_dict: dict[str, Any]) -> None:
        """Clip the gradient norm of each optimizer to ``agent.gradient_clip`` and step, then move target networks.

        An optimizer is skipped if its gradient is not finite. Parameters without gradient (the actor of DQN) are left
        unchanged.
        """
        agent = self.config.agent
        if agent.candidates.count:
            self._move_rows()
            return
        for optimizer in self._optimizer_parameters:
            params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if not params:
                continue
            norm = torch.nn.utils.clip_grad_norm_(params, agent.gradient_clip or torch.inf, foreach=True)
            if torch.isfinite(norm):
                optimizer.step()
            else:
                log.warning("skipped an update: its gradient is not finite")
        with torch.no_grad():
            for target, online in self._target_parameters:
                torch._foreach_lerp_(target, online, agent.target_rate)

    def _move_rows(self) -> None:
        """As :meth:`apply_gradients`, where rows of the item tables that no batch touches stay as they are."""
        agent, module = self.config.agent, self.module[DEFAULT_MODULE_ID].unwrapped()
        for name in ("actor", "critic"):
            optimizers = [
                private.optimizer(self, full)
                for full in (f"{DEFAULT_MODULE_ID}_{name}", f"{DEFAULT_MODULE_ID}_{name}_rows")
                if private.has_optimizer(self, full)
            ]
            norm = rows.clip((p for o in optimizers for g in o.param_groups for p in g["params"]), agent.gradient_clip)
            if not torch.isfinite(norm):
                log.warning("skipped an update: its gradient is not finite")
                continue
            if module.target is not None:
                module.lag.before_step(module.target, module, optimizers)
            for optimizer in optimizers:
                optimizer.step()
        module.lag.clock += 1
        with torch.no_grad():
            for target, online in self._target_parameters:
                torch._foreach_lerp_(target, online, agent.target_rate)

    def _keep_index(self, observation: Tensor) -> None:
        """Rebuild the index every ``agent.candidates.rebuild`` updates, and say what the old one still found.

        The new one is built beside the next twentieth of the period, and takes effect after it.
        """
        module, period = self.module[DEFAULT_MODULE_ID].unwrapped(), self.config.agent.candidates.rebuild
        index, at = module.candidates.own, int(module.lag.clock) % period
        if at == 0:
            index.begin(module.policy)
        if not index.pending or at != period // _BESIDE:
            return
        coverage, mass = staleness(module.candidates, module.policy, observation[:_STATES])
        module.lag.coverage.fill_(coverage)
        module.lag.mass.fill_(mass)
        index.swap()
        if mass < _MASS:
            text = "the index of agent.candidates held %.3f of the probability mass when it was replaced: lower %s"
            log.warning(text, mass, "agent.candidates.rebuild")

    @cached_property
    def _target_parameters(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Parameters of target and online networks that move at every update; cached: it takes as long as moving."""
        modules = [self.module[module_id].unwrapped() for module_id in self.module.keys()]  # noqa: SIM118
        held = rows.TABLES if self.config.agent.candidates.count else ()
        pairs = []
        for module in modules:
            if module.target is not None:
                names = [name for name, _ in module.target.named_parameters() if name not in held]
                pairs.append(
                    ([module.target.get_parameter(n) for n in names], [module.get_parameter(n) for n in names])
                )
        return pairs
