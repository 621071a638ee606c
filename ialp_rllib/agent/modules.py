"""RLModules: thin shells that give RLlib the networks of :mod:`ialp_rllib.agent.networks`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from safetensors.torch import load_file
from torch import Tensor

from ialp_rllib.agent.alpha import alpha, remember
from ialp_rllib.agent.exploration import act, propose
from ialp_rllib.agent.losses import mixture
from ialp_rllib.agent.networks import ActorCritic, NetworkConfig, Policy, values
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AlphaSettings

PROBS, Q, PROBS_NEXT, Q_NEXT, ALLOWED_NEXT = "probs", "q", "probs_next", "q_next", "allowed_next"
THETA, BETA = "theta", "beta"


def load_weights(path: str) -> dict[str, Tensor]:
    """The state dict of an :class:`ActorCritic` that pre-training left, or an :class:`InputError`."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "the policy.safetensors that `ialp pretrain` leaves")
    return load_file(path)


class ActorCriticModule(TorchRLModule, InferenceOnlyAPI):
    """Actor-critic with SASRec states. Acting needs the policy alone; critic and target network stay with the learner.

    ``model_config``: the fields of :class:`NetworkConfig`; ``exploration`` and ``epsilon``; ``target`` (whether there
    is a target network); ``propose`` (0, or k, the number of candidates that it proposes to a judge instead of acting
    itself) and ``proposals`` (how, while it learns).
    """

    def setup(self) -> None:
        config = NetworkConfig.of(self.model_config, int(self.action_space.n))
        # RLlib strips non-inference parts by top-level name only, so the parts of ActorCritic are laid out flat.
        net = ActorCritic(config)
        self.policy, self.critic = net.policy, net.critic
        if self.model_config.get("start_weights"):
            net.load_state_dict(load_weights(self.model_config["start_weights"]))
        self.target = copy.deepcopy(net).requires_grad_(False) if self.model_config.get("target") else None

    def get_non_inference_attributes(self) -> list[str]:
        return ["critic", "target"]

    def advance(self, env_steps: int) -> None:
        """Called before every update with the environment steps so far: the place of schedules."""

    def learnt(self, parts: dict[str, Tensor]) -> None:
        """Called after every update's loss with what the objective gave beside it."""

    def acting_probs(self, observation: Tensor) -> Tensor:
        """The acting policy's probabilities, ``(B, I + 1)``."""
        return torch.softmax(self.policy(observation), -1)

    def act(self, observation: Tensor, how: str) -> Tensor:
        """Items by ``categorical``, ``epsilon_greedy`` or ``greedy``. ``(B, 1 + L)`` -> ``(B,)``.

        Where it proposes: ``(B, k)``, the top k for ``greedy``, else sampled ones.
        """
        if self.model_config.get("propose"):
            return self.propose(observation, "top" if how == "greedy" else "sampled")
        with torch.inference_mode():
            return act(self.acting_probs(observation), how, self.model_config.get("epsilon", 0.0))

    def propose(self, observation: Tensor, how: str) -> Tensor:
        """Candidates for a judge, ``sampled``, ``top`` or ``mix``. ``(B, 1 + L)`` -> ``(B, k)``."""
        with torch.inference_mode():
            probs = self.acting_probs(observation)
            # Small probabilities of a sharp policy are 0 in float32, as are those of items that may not be proposed.
            least = self.policy.mask(torch.full_like(probs, 1e-30), observation)
            return propose(torch.maximum(probs, least), self.model_config["propose"], how)

    def _forward_inference(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        return {Columns.ACTIONS: self.act(batch[Columns.OBS], "greedy")}

    def _forward_exploration(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        if self.model_config.get("propose"):
            return {Columns.ACTIONS: self.propose(batch[Columns.OBS], self.model_config.get("proposals", "sampled"))}
        return {Columns.ACTIONS: self.act(batch[Columns.OBS], self.model_config.get("exploration", "categorical"))}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        observation, after = batch[Columns.OBS], batch[Columns.NEXT_OBS]
        logits, q = values(self.policy, self.critic, observation)
        beta = torch.softmax(logits, -1)
        with torch.no_grad():
            source = self if self.target is None else self.target
            logits_next, q_next = values(source.policy, source.critic, after)
            probs_next = torch.softmax(logits_next, -1)
        return {
            **self._acting(beta, observation),
            Q: q,
            PROBS_NEXT: self._acting(probs_next, after)[PROBS],
            Q_NEXT: q_next,
            ALLOWED_NEXT: probs_next > 0,
        }

    def _acting(self, probs: Tensor, observation: Tensor) -> dict[str, Tensor]:
        """The acting policy's probabilities as :data:`PROBS`, from those of the learning one."""
        return {PROBS: probs}


class MixtureModule(ActorCriticModule):
    """A-iALP_ap: a frozen pre-trained pi_theta mixed with the learning pi_beta, by probabilities (Eq. 14).

    ``alpha``, ``env_steps`` and ``evidence`` are buffers, so that weight synchronisation and checkpoints carry them.
    ``model_config["theta_weights"]``: file of the pre-trained actor-critic; ``alpha``: settings of its schedule.
    """

    def setup(self) -> None:
        super().setup()
        self.theta = Policy(NetworkConfig.of(self.model_config, int(self.action_space.n))).requires_grad_(False)
        if self.model_config.get("theta_weights"):
            weights = load_weights(self.model_config["theta_weights"])
            prefix = "policy."
            self.theta.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        self.schedule: AlphaSettings = self.model_config.get("alpha", AlphaSettings())
        self.register_buffer("alpha", torch.tensor(alpha(self.schedule, 0)))
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("evidence", torch.zeros(3))

    def advance(self, env_steps: int) -> None:
        self.alpha.fill_(alpha(self.schedule, env_steps, self.evidence.tolist()))
        self.env_steps.fill_(env_steps)

    def learnt(self, parts: dict[str, Tensor]) -> None:
        if "gain" in parts:
            self.evidence.copy_(remember(self.evidence, float(parts["gain"]), self.schedule.memory))

    def get_state(self, *args: Any, inference_only: bool = False, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(*args, inference_only=inference_only, **kwargs)
        if inference_only:  # theta never changes: every runner has it from the start, it need not travel at each sync
            state = {k: v for k, v in state.items() if not k.startswith("theta.")}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        if not any(k.startswith("theta.") for k in state):
            state = {**state, **{k: v for k, v in self.state_dict().items() if k.startswith("theta.")}}
        super().set_state(state)

    def acting_probs(self, observation: Tensor) -> Tensor:
        return self._acting(super().acting_probs(observation), observation)[PROBS]

    def _acting(self, probs: Tensor, observation: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            theta = torch.softmax(self.theta(observation), -1)
        mixed = {PROBS: mixture(theta, probs, self.alpha)}
        return {**mixed, THETA: theta, BETA: probs} if self.schedule.shape == "evidence" else mixed
