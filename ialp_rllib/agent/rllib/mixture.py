"""The RLModule of A-iALP_ap: a frozen pre-trained policy mixed with one that learns online."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.agent.policy.alpha import alpha, clock_rate, update_evidence
from ialp_rllib.agent.policy.blockwise import FrozenPolicy, LazyScores, compare_policies
from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS, SessionDraws, share
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.rllib.modules import ActorCriticModule, fill, load_weights
from ialp_rllib.agent.rllib.outputs import DIFFERENCE, RATIO
from ialp_rllib.settings import AlphaSettings


class MixtureModule(ActorCriticModule):
    """A-iALP_ap: acts with a mixture of the frozen pre-trained pi_theta and the learning pi_beta (Eq. 14).

    ``alpha``, ``env_steps``, ``clock`` (time of the schedule) and ``evidence`` are buffers, so that they are part of
    weight synchronisation and checkpoints.

    With ``alpha.by`` ``session`` pi_theta or pi_beta is drawn with each session: :meth:`draw_sessions`,
    :meth:`acting_as`.

    Additional entries of ``model_config``: ``theta_weights``: file of the pre-trained actor-critic; ``alpha``:
    :class:`ialp_rllib.settings.AlphaSettings`.
    """

    def setup(self) -> None:
        super().setup()
        self.anchor = None  # theta is
        config = NetworkConfig.from_model_config(self.model_config, int(self.action_space.n))
        self.theta = Policy(config).requires_grad_(False)
        if self.model_config.get("theta_weights"):
            path, prefix = self.model_config["theta_weights"], "policy."
            weights = {k.removeprefix(prefix): v for k, v in load_weights(path).items() if k.startswith(prefix)}
            fill(self.theta, weights, path)
        self.schedule: AlphaSettings = self.model_config.get("alpha", AlphaSettings())
        self.rollouts = self.model_config.get("rollout_steps", 0)  # theta acts alone in them
        self.register_buffer("alpha", torch.tensor(0.0 if self.rollouts else alpha(self.schedule, 0)))
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("clock", torch.zeros(()))
        self.register_buffer("evidence", torch.zeros(3))
        self._shares: Tensor | None = None  # of pi_beta in each row at hand; None: alpha
        self._odds: tuple[Tensor | None, Tensor | None] = (None, None)  # of a batch: before and after its actions
        self._parts: tuple[Tensor, Tensor] | None = None  # what acted last: probabilities of theta and beta

    @property
    def by_session(self) -> bool:
        return self.schedule.by == "session"

    def draw_sessions(self, n: int) -> SessionDraws:
        """Draws of N new sessions at the present alpha."""
        return SessionDraws(n, float(self.alpha))

    @contextmanager
    def acting_as(self, draws: SessionDraws) -> Iterator[None]:
        """Act in N sessions with what was drawn in each, whatever the mode; :meth:`shown` goes on from there."""
        self._shares = draws.beta.float().to(self.alpha.device)
        try:
            yield
        finally:
            self._shares = None

    def shown(self, draws: SessionDraws, actions: np.ndarray, drawn_at_random: bool = False) -> dict[str, np.ndarray]:
        """Tell ``draws`` what was shown in the states that were acted in last.

        Args:
            actions: ``(N,) int64``.
            drawn_at_random: whether neither policy acted, so that the actions tell nothing of the draw.

        Returns:
            The columns of :mod:`ialp_rllib.agent.policy.draws`.
        """
        before = draws.odds.numpy().copy()
        if self._parts is not None and not drawn_at_random:
            theta, beta = (probs.cpu() for probs in self._parts)
            draws.observe(theta, beta, torch.from_numpy(actions))
        return {ODDS: before, NEXT_ODDS: draws.odds.numpy().copy()}

    @property
    def needs_q_values(self) -> bool:
        return super().needs_q_values or self.compares_parts

    @property
    def compares_parts(self) -> bool:
        return self.schedule.shape == "evidence"

    def before_update(self, env_steps: int) -> None:
        self.clock += (env_steps - self.env_steps.clamp(min=self.rollouts)) * clock_rate(
            self.schedule, self.evidence.tolist()
        )
        self.env_steps.fill_(env_steps)
        self.alpha.fill_(alpha(self.schedule, float(self.clock)))

    def after_loss(self, metrics: dict[str, Tensor]) -> None:
        if "gain" in metrics:
            self.evidence.copy_(update_evidence(self.evidence, float(metrics["gain"]), self.schedule.memory))

    def get_state(self, *args: Any, inference_only: bool = False, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(*args, inference_only=inference_only, **kwargs)
        if inference_only:  # theta is constant and loaded by every runner: leave it out of weight synchronisation
            state = {k: v for k, v in state.items() if not k.startswith("theta.")}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        if not any(k.startswith("theta.") for k in state):
            state = {**state, **{k: v for k, v in self.state_dict().items() if k.startswith("theta.")}}
        super().set_state(state)

    def mixed_with(self) -> tuple[Policy | None, Tensor | float]:
        return self.theta, self.alpha

    def acting_probs(self, observation: Tensor) -> Tensor:
        beta = super().acting_probs(observation)
        if self.candidates is not None:  # theta is in it
            return beta
        theta = torch.softmax(self.theta(observation), -1)
        if self._shares is None:
            return mixture(theta, beta, self.alpha)
        self._parts = (theta, beta)
        return mixture(theta, beta, self._shares[:, None])

    def _forward_train(self, batch: dict[str, Any], **options: Any) -> dict[str, Tensor]:
        self._odds = (batch.get(ODDS), batch.get(NEXT_ODDS))
        return super()._forward_train(batch, **options)

    def policy_statistics(
        self, observation: Tensor, state: Tensor, items: Tensor, action: Tensor, q: LazyScores | None = None
    ) -> dict[str, Tensor]:
        with self._weighted(self._odds[0]):
            return super().policy_statistics(observation, state, items, action, q)

    def next_value(self, next_observation: Tensor) -> Tensor:
        with self._weighted(self._odds[1]):
            return super().next_value(next_observation)

    @contextmanager
    def _weighted(self, odds: Tensor | None) -> Iterator[None]:
        """Weigh pi_beta in each row by what the row's session has shown; None: by alpha."""
        self._shares = share(self.alpha, odds) if odds is not None and self.by_session else None
        try:
            yield
        finally:
            self._shares = None

    @torch.no_grad()
    def frozen_policy(self, observation: Tensor) -> FrozenPolicy:
        return FrozenPolicy(self.theta.scores_of(observation), self.alpha if self._shares is None else self._shares)

    def anchor_scores(self, observation: Tensor, frozen: FrozenPolicy | None) -> LazyScores | None:
        return frozen.logits if frozen is not None and self.model_config.get("anchor") else None

    def compare_policies(
        self, logits: LazyScores, q: LazyScores, frozen: FrozenPolicy | None, action: Tensor
    ) -> dict[str, Tensor]:
        if not self.compares_parts or frozen is None:
            return {}
        difference, ratio = compare_policies(q, logits, frozen, action, size=self.block_items)
        return {DIFFERENCE: difference, RATIO: ratio}
