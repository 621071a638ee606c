"""RLModules: thin shells that give RLlib the networks of :mod:`ialp_rllib.agent.policy.networks`."""

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

from ialp_rllib.agent.policy.alpha import alpha, pace, remember
from ialp_rllib.agent.policy.exploration import act, propose
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig, Policy
from ialp_rllib.agent.policy.terms import Frozen, Scores, compare, highest, mean, policy_terms
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AlphaSettings

# What a module gives of each transition, (B,): log pi(a|s), H(pi(.|s)), E_pi Q(s, .), Q(s, a), the value of s'.
LOG_PROB, ENTROPY, VALUE, Q, NEXT_VALUE = "log_prob", "entropy", "value", "q", "next_value"
BASELINE = "baseline"  # of REINFORCE
DIFFERENCE, RATIO = "difference", "ratio"  # of beta and theta, see losses.gain


def load_weights(path: str) -> dict[str, Tensor]:
    """The state dict of an :class:`ActorCritic` that pre-training left, or an :class:`InputError`."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "the policy.safetensors that `ialp pretrain` leaves")
    return load_file(path)


class ActorCriticModule(TorchRLModule, InferenceOnlyAPI):
    """Actor-critic with SASRec states. Acting needs the policy alone; critic and target network stay with the learner.

    ``model_config``: the fields of :class:`NetworkConfig`; ``exploration`` and ``epsilon``; ``target`` (whether there
    is a target network); ``propose`` (0, or k, the number of candidates that it proposes to a judge instead of acting
    itself) and ``proposals`` (how, while it learns); ``advantage``, ``bootstrap`` and ``block_items``, as in the
    settings.
    """

    def setup(self) -> None:
        config = NetworkConfig.of(self.model_config, int(self.action_space.n))
        # RLlib strips non-inference parts by top-level name only, so the parts of ActorCritic are laid out flat.
        net = ActorCritic(config)
        self.policy, self.critic = net.policy, net.critic
        if self.model_config.get("start_weights"):
            net.load_state_dict(load_weights(self.model_config["start_weights"]))
        self.block_items = self.model_config.get("block_items", 8192)
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
        observation, action = batch[Columns.OBS], batch[Columns.ACTIONS].long()
        with torch.no_grad():
            value = self.next_value(batch[Columns.NEXT_OBS])
        items = self.policy.encoder.items()
        state = self.policy.encoder(observation, items)
        q, state_value = self.critic.advantage.scores(state, items), self.critic.state_value(state)
        found = self.terms(observation, state, items, action, q.constant() if self.needs_values else None)
        # The state value is the same for all items: nothing of it is in the gradient of the policy's mean.
        found[VALUE] = found[VALUE] + state_value.detach()
        return {Q: q.of(action) + state_value, NEXT_VALUE: value, **found}

    @property
    def needs_values(self) -> bool:
        """Whether the loss has a use for the Q-values of all items."""
        return self.model_config.get("advantage", "expected") in ("expected", "all_actions")

    def terms(
        self, observation: Tensor, state: Tensor, items: Tensor, action: Tensor, q: Scores | None = None
    ) -> dict[str, Tensor]:
        """What the objective needs of the acting policy: :data:`LOG_PROB`, :data:`ENTROPY`, :data:`VALUE`."""
        logits, frozen = self.policy.scores(observation, state, items), self.frozen(observation)
        found = policy_terms(logits, action, q, frozen, size=self.block_items)._asdict()
        return found if q is None else found | self.compare(logits, q, frozen, action)

    def next_value(self, after: Tensor) -> Tensor:
        """The value of next states, by the target network where there is one. ``(B, 1 + L)`` -> ``(B,)``.

        ``model_config["bootstrap"]``: ``max``, over what may be recommended (Eq. 8), or ``policy``, the acting policy's
        mean.
        """
        source = self if self.target is None else self.target
        items = source.policy.encoder.items()
        state = source.policy.encoder(after, items)
        q, logits = source.critic.advantage.scores(state, items), source.policy.scores(after, state, items)
        if self.model_config.get("bootstrap") == "max":
            value = highest(q._replace(masked=logits.masked), size=self.block_items)
        else:
            value = mean(q, logits, self.frozen(after), size=self.block_items)
        return value + source.critic.state_value(state)

    # ---- the places where a mixture is another policy than the one that learns

    def mixed(self, probs: Tensor, observation: Tensor) -> Tensor:
        """The acting policy's probabilities from those of the learning one. ``(B, I + 1)``."""
        return probs

    def frozen(self, observation: Tensor) -> Frozen | None:
        """What the learning policy is mixed with."""
        return None

    def compare(self, logits: Scores, q: Scores, frozen: Frozen | None, action: Tensor) -> dict[str, Tensor]:
        """:data:`DIFFERENCE` and :data:`RATIO` of the two policies, where the schedule of alpha asks for them."""
        return {}


class MixtureModule(ActorCriticModule):
    """A-iALP_ap: a frozen pre-trained pi_theta mixed with the learning pi_beta, by probabilities (Eq. 14).

    ``alpha``, ``env_steps``, ``clock`` (the schedule's own) and ``evidence`` are buffers, so that weight
    synchronisation and checkpoints carry them.
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
        self.register_buffer("clock", torch.zeros(()))
        self.register_buffer("evidence", torch.zeros(3))

    @property
    def needs_values(self) -> bool:
        return super().needs_values or self.schedule.shape == "evidence"

    def advance(self, env_steps: int) -> None:
        self.clock += (env_steps - self.env_steps) * pace(self.schedule, self.evidence.tolist())
        self.env_steps.fill_(env_steps)
        self.alpha.fill_(alpha(self.schedule, float(self.clock)))

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
        return self.mixed(super().acting_probs(observation), observation)

    def mixed(self, probs: Tensor, observation: Tensor) -> Tensor:
        return mixture(torch.softmax(self.theta(observation), -1), probs, self.alpha)

    @torch.no_grad()
    def frozen(self, observation: Tensor) -> Frozen:
        items = self.theta.encoder.items()
        return Frozen(self.theta.scores(observation, self.theta.encoder(observation, items), items), self.alpha)

    def compare(self, logits: Scores, q: Scores, frozen: Frozen | None, action: Tensor) -> dict[str, Tensor]:
        if self.schedule.shape != "evidence" or frozen is None:
            return {}
        difference, ratio = compare(q, logits, frozen, action, size=self.block_items)
        return {DIFFERENCE: difference, RATIO: ratio}
