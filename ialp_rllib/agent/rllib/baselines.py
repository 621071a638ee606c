"""RLModules of the baselines: fixed scores, DQN, and REINFORCE, with the action mask of the actor-critic."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import MASKED
from ialp_rllib.agent.policy.exploration import row_blocks, sample
from ialp_rllib.agent.policy.networks import Critic, NetworkConfig, Policy, mask
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.agent.rllib.outputs import BASELINE, NEXT_VALUE, Q
from ialp_rllib.settings import DQNSettings, PGSettings


class FixedModule(ActorCriticModule):
    """Policy that is independent of the history: item probabilities proportional to constant scores.

    Greedy actions are the items with the highest score, with ties broken at random. ``model_config["scores"]``:
    ``(I,)`` non-negative scores; without it all items have the same score.
    """

    def setup(self) -> None:
        config = NetworkConfig.from_model_config(self.model_config, int(self.action_space.n))
        self.recent, self.n_items, self.target = config.mask_recent, config.n_items, None
        scores = np.zeros(config.n_items + 1, np.float32)
        scores[:-1] = self.model_config.get("scores", 1.0)
        # If all items with positive scores are masked, the others are drawn uniformly; otherwise practically never.
        self.register_buffer("scores", torch.from_numpy(scores.clip(min=1e-30)))

    def get_non_inference_attributes(self) -> list[str]:
        return []

    def acting_probs(self, observation: Tensor) -> Tensor:
        scores = mask(self.scores.repeat(len(observation), 1), observation, self.recent).clamp(min=0)
        return scores / scores.sum(1, keepdim=True)

    def select(self, observation: Tensor, mode: str) -> Tensor:
        parts = []
        for rows in row_blocks(len(observation), self.n_items):
            probs = self.acting_probs(observation[rows])
            if mode == "greedy":
                probs = (probs == probs.amax(1, keepdim=True)).to(probs.dtype)
            parts.append(sample(probs))
        return torch.cat(parts)


class QModule(ActorCriticModule):
    """DQN: epsilon-greedy on the Q-values of the critic. The actor is neither trained nor used.

    ``epsilon`` follows the schedule in ``model_config["dqn"]`` (:class:`ialp_rllib.settings.DQNSettings`), so that
    ``agent.exploration`` has no effect. It is a buffer, to be part of weight synchronisation and checkpoints.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning"; double: van Hasselt et al.
    2016, "Deep Reinforcement Learning with Double Q-learning"; dueling: see :class:`.networks.Critic`.
    """

    on_candidates = False

    def setup(self) -> None:
        super().setup()
        self.dqn: DQNSettings = self.model_config.get("dqn", DQNSettings())
        self.register_buffer("epsilon", torch.tensor(epsilon(self.dqn, 0)))

    def get_non_inference_attributes(self) -> list[str]:
        return ["target"]

    def before_update(self, env_steps: int) -> None:
        self.epsilon.fill_(epsilon(self.dqn, env_steps))

    def q_values(self, observation: Tensor) -> Tensor:
        """Masked Q-values of the online network, ``(B, 1 + L)`` -> ``(B, I + 1)``."""
        return _masked_q(self.policy, self.critic, observation)

    def target_values(self, observation: Tensor) -> Tensor:
        """Masked Q-values of the target network, or of the online network if there is none, ``(B, I + 1)``."""
        source = self if self.target is None else self.target
        return _masked_q(source.policy, source.critic, observation)

    def next_value(self, next_observation: Tensor) -> Tensor:
        """Maximum target value, or the target value of the online network's greedy item (double). ``(B,)``."""
        q = self.target_values(next_observation)
        if not self.dqn.double:
            return q.amax(1)
        return q.gather(1, self.q_values(next_observation).argmax(1, keepdim=True))[:, 0]

    def acting_probs(self, observation: Tensor) -> Tensor:
        q = self.q_values(observation)
        allowed = (q > MASKED).to(q.dtype)
        best = torch.zeros_like(q).scatter_(1, q.argmax(1, keepdim=True), 1.0)
        return torch.lerp(best, allowed / allowed.sum(1, keepdim=True), self.epsilon)

    def select(self, observation: Tensor, mode: str) -> Tensor:
        """Item with the highest Q-value if ``greedy``, otherwise a sample of :meth:`acting_probs`. ``(B,) int64``."""
        if mode == "greedy":
            return self.q_values(observation).argmax(1)
        return sample(self.acting_probs(observation))

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            next_value = self.next_value(batch[Columns.NEXT_OBS])
        items = self.policy.encoder.items()
        state = self.policy.encoder(batch[Columns.OBS], items)
        return {Q: self.critic.action_value(state, items, batch[Columns.ACTIONS].long()), NEXT_VALUE: next_value}


def _masked_q(policy: Policy, critic: Critic, observation: Tensor) -> Tensor:
    items = policy.encoder.items()
    return policy.mask(critic(policy.encoder(observation, items), items), observation)


def epsilon(settings: DQNSettings, env_steps: int) -> float:
    """Probability of a uniform random item: linear from ``epsilon_start`` to ``epsilon_end``, then constant."""
    fraction = min(env_steps / settings.epsilon_steps, 1.0)
    return settings.epsilon_start + fraction * (settings.epsilon_end - settings.epsilon_start)


class PolicyGradientModule(ActorCriticModule):
    """REINFORCE, with the state value of a dueling critic as baseline, or without a baseline.

    The policy gradient trains the encoder, independent of ``agent.shared_encoder``, since without a baseline no other
    loss does. ``model_config["pg"]``: :class:`ialp_rllib.settings.PGSettings`.

    Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning".
    """

    on_candidates = False

    def setup(self) -> None:
        self.model_config.update(dueling=True, shared_encoder=True, target=False)
        super().setup()
        self.pg: PGSettings = self.model_config.get("pg", PGSettings())

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        observation = batch[Columns.OBS]
        items = self.policy.encoder.items()
        state = self.policy.encoder(observation, items)
        statistics = self.policy_statistics(observation, state, items, batch[Columns.ACTIONS].long())
        if self.critic.value is None or self.pg.baseline == "none":
            return statistics
        return {**statistics, BASELINE: self.critic.value(state).squeeze(1)}
