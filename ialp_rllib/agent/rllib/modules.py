"""RLModules that wrap the networks of :mod:`ialp_rllib.agent.policy.networks` for RLlib."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import (
    FrozenPolicy,
    LazyScores,
    max_score,
    mean_score,
    policy_statistics,
)
from ialp_rllib.agent.policy.calibrated import conservative_term
from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.exploration import act, propose, require_allowed, require_items
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig, Policy
from ialp_rllib.agent.policy.rows import Lag
from ialp_rllib.agent.policy.saved import read_weights
from ialp_rllib.agent.policy.trajectories import RETURNS
from ialp_rllib.agent.rllib import on_candidates
from ialp_rllib.agent.rllib.outputs import CONSERVATIVE, DIVERGENCE, NEXT_VALUE, VALUE, Q
from ialp_rllib.errors import InputError


def load_weights(path: str) -> dict[str, Tensor]:
    """Load the state dict of a pre-trained :class:`.networks.ActorCritic` from the file of a saved policy.

    Raises:
        InputError: the file does not exist or is damaged.
    """
    return {k: v for k, v in read_weights(Path(path)).items() if k.startswith(("policy.", "critic."))}


def fill(network: torch.nn.Module, weights: dict[str, Tensor], path: str) -> None:
    """Copy ``weights``, read from ``path``, into a network.

    Raises:
        InputError: they are those of another network.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise InputError(
            path,
            f"does not fit the networks of these settings ({problem})",
            "weights of a policy with the same agent.*",
        ) from error


class ActorCriticModule(TorchRLModule, InferenceOnlyAPI):
    """Actor-critic with SASRec states, and base class of the modules of all methods.

    Environment runners hold the policy only; critic and target network stay in the learner.

    ``model_config`` holds the fields of :class:`.networks.NetworkConfig`; ``exploration``, ``epsilon``, ``advantage``,
    ``bootstrap`` and ``block_items`` as in :class:`ialp_rllib.settings.AgentSettings`; ``target``: whether to use a
    target network; ``anchor``: whether to hold the learning policy to the one in ``start_weights``, by a frozen copy;
    ``candidates``: number of candidates that the module proposes to a judge instead of selecting an item itself, or 0;
    ``proposals``: strategy of the proposals during training; ``retrieval``: the settings of the agent where it acts on
    candidates of its own (``agent.candidates``), else None, and ``popularity`` of the items, see
    :mod:`ialp_rllib.agent.policy.candidates`. Then ``candidates`` and ``lag`` are not None.

    Methods of their own override :meth:`acting_probs`, :meth:`next_value`, ``_forward_train``, and the hooks
    :meth:`before_update` and :meth:`after_loss`.

    Attributes:
        on_candidates: whether training is possible with ``agent.candidates``.
    """

    on_candidates: ClassVar[bool] = True

    def setup(self) -> None:
        config = NetworkConfig.from_model_config(self.model_config, int(self.action_space.n))
        self.recent, self.n_items = config.mask_recent, config.n_items
        # RLlib strips non-inference parts by top-level name only, so policy and critic are attributes of the module.
        net = ActorCritic(config)
        self.policy, self.critic = net.policy, net.critic
        if self.model_config.get("start_weights"):
            path = self.model_config["start_weights"]
            fill(net, load_weights(path), path)
        held = self.model_config.get("anchor") and self.model_config.get("start_weights")
        self.anchor = copy.deepcopy(net.policy).requires_grad_(False) if held else None
        self.block_items = self.model_config.get("block_items", 8192)
        self.target = copy.deepcopy(net).requires_grad_(False) if self.model_config.get("target") else None
        agent, popularity = self.model_config.get("retrieval"), self.model_config.get("popularity")
        self.candidates = Candidates(config.n_items, config.dim, agent.candidates, popularity) if agent else None
        self.lag = Lag(config.n_items, agent.target_rate) if agent else None
        if self.candidates is not None:
            self.candidates.own.take(self.policy)

    def get_non_inference_attributes(self) -> list[str]:
        return ["critic", "target", "anchor", "lag"]

    def before_update(self, env_steps: int) -> None:
        """Hook before every update, for schedules.

        Args:
            env_steps: number of environment steps sampled so far.
        """

    def after_loss(self, metrics: dict[str, Tensor]) -> None:
        """Hook after the loss of every update is computed, with the metrics that the objective returned."""

    def acting_probs(self, observation: Tensor) -> Tensor:
        """Probabilities of the acting (behaviour) policy, ``(B, 1 + L)`` -> ``(B, I + 1) float32``."""
        if self.candidates is not None:
            return on_candidates.acting_probs(self, observation)
        return torch.softmax(self.policy(observation), -1)

    def act(self, observation: Tensor, mode: str) -> Tensor:
        """Select items with the acting policy.

        Args:
            observation: ``(B, 1 + L) int``.
            mode: ``categorical``, ``epsilon_greedy`` or ``greedy``.

        Returns:
            ``(B,) int64``; for a module that proposes candidates ``(B, k) int64``: the k most probable items for
            ``greedy``, otherwise sampled without replacement.
        """
        if self.model_config.get("candidates"):
            return self.propose(observation, "top" if mode == "greedy" else "sampled")
        require_allowed(observation, self.recent, self.n_items)
        with torch.inference_mode():
            return require_items(self.select(observation, mode), self.n_items)

    def select(self, observation: Tensor, mode: str) -> Tensor:
        """As :meth:`act`, of one item per state, without its checks. ``(B,) int64``."""
        if getattr(self, "candidates", None) is not None:  # policies without networks have no such attribute
            return on_candidates.select(self, observation, mode)
        return act(self.acting_probs(observation), mode, self.model_config.get("epsilon", 0.0))

    def propose(self, observation: Tensor, strategy: str) -> Tensor:
        """Candidates for a judge, ``sampled``, ``top`` or ``mix``; ``(B, 1 + L)`` -> ``(B, k) int64``."""
        k = self.model_config["candidates"]
        require_allowed(observation, self.recent, self.n_items, k)
        with torch.inference_mode():
            probs = self.acting_probs(observation)
            # Small probabilities of a peaked policy underflow to 0, like those of items that may not be proposed.
            lower_bound = self.policy.mask(torch.full_like(probs, 1e-30), observation)
            return require_items(propose(torch.maximum(probs, lower_bound), k, strategy), self.n_items)

    def _forward_inference(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        return {Columns.ACTIONS: self.act(batch[Columns.OBS], "greedy")}

    def _forward_exploration(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        if self.model_config.get("candidates"):
            return {Columns.ACTIONS: self.propose(batch[Columns.OBS], self.model_config.get("proposals", "sampled"))}
        return {Columns.ACTIONS: self.act(batch[Columns.OBS], self.model_config.get("exploration", "categorical"))}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        if self.candidates is not None:
            return on_candidates.forward_train(self, batch)
        observation, action = batch[Columns.OBS], batch[Columns.ACTIONS].long()
        with torch.no_grad():
            next_value = self.next_value(batch[Columns.NEXT_OBS])
        items = self.policy.encoder.items()
        state = self.policy.encoder(observation, items)
        q, state_value = self.critic.advantage.scores(state, items), self.critic.state_value(state)
        statistics = self.policy_statistics(
            observation, state, items, action, q.detach() if self.needs_q_values else None
        )
        # The state value is equal for all items, so it does not contribute to the policy gradient.
        statistics[VALUE] = statistics[VALUE] + state_value.detach()
        if self.model_config.get("calibration") and RETURNS in batch:
            statistics[CONSERVATIVE] = conservative_term(
                q, state_value, action, batch[RETURNS], self.n_items, size=self.block_items
            )
        return {Q: q.gather(action) + state_value, NEXT_VALUE: next_value, **statistics}

    @property
    def needs_q_values(self) -> bool:
        """Whether the loss uses the Q-values of all items."""
        return self.model_config.get("advantage", "expected") in ("expected", "all_actions")

    def policy_statistics(
        self, observation: Tensor, state: Tensor, items: Tensor, action: Tensor, q: LazyScores | None = None
    ) -> dict[str, Tensor]:
        """Outputs of the acting policy: :data:`LOG_PROB`, :data:`ENTROPY`, :data:`VALUE`, and possibly more.

        Of a learning policy that is held to its start also :data:`DIVERGENCE`, of a mixture what compares its parts.

        Args:
            observation: ``(B, 1 + L) int``.
            state: ``(B, width)`` encoded observations.
            items: ``(I + 1, d)`` item embeddings.
            action: ``(B,) int64``.
            q: constant Q-values of all items, or None if the loss does not use them.
        """
        logits, frozen = self.policy.scores(observation, state, items), self.frozen_policy(observation)
        anchor = self.anchor_scores(observation, frozen)
        statistics = policy_statistics(logits, action, q, frozen, anchor, size=self.block_items)._asdict()
        if anchor is None:
            del statistics[DIVERGENCE]
        return statistics if q is None else statistics | self.compare_policies(logits, q, frozen, action)

    def next_value(self, next_observation: Tensor) -> Tensor:
        """Value of next states by the target network, or by the online network if there is none.

        ``model_config["bootstrap"]`` is ``max``: maximum over the items that may be recommended (Eq. 8), or ``policy``:
        expectation under the acting policy.

        Args:
            next_observation: ``(B, 1 + L) int``.

        Returns:
            ``(B,)``.
        """
        source = self if self.target is None else self.target
        items = source.policy.encoder.items()
        state = source.policy.encoder(next_observation, items)
        q, logits = source.critic.advantage.scores(state, items), source.policy.scores(next_observation, state, items)
        if self.model_config.get("bootstrap") == "max":
            value = max_score(q._replace(masked=logits.masked), size=self.block_items)
        else:
            value = mean_score(q, logits, self.frozen_policy(next_observation), size=self.block_items)
        return value + source.critic.state_value(state)

    @torch.no_grad()
    def anchor_scores(self, observation: Tensor, frozen: FrozenPolicy | None) -> LazyScores | None:
        """Logits of the policy that the learning one is held to, or None. ``frozen``: of a mixture, its frozen part."""
        return None if self.anchor is None else self.anchor.scores_of(observation)

    @property
    def by_session(self) -> bool:
        """Whether the acting policy is drawn once per session, see :mod:`ialp_rllib.agent.policy.draws`."""
        return False

    # ---- hooks of a mixture, whose acting policy differs from the learning one

    def mixed_with(self) -> tuple[Policy | None, Tensor | float]:
        """The frozen policy that acts beside the learning one, or None, and the weight of the learning one."""
        return None, 1.0

    def frozen_policy(self, observation: Tensor) -> FrozenPolicy | None:
        """The frozen component of the acting policy, or None if the learning policy acts alone."""
        return None

    @property
    def compares_parts(self) -> bool:
        """Whether the schedule of alpha uses what compares learning and frozen policy."""
        return False

    def compare_policies(
        self, logits: LazyScores, q: LazyScores, frozen: FrozenPolicy | None, action: Tensor
    ) -> dict[str, Tensor]:
        """:data:`DIFFERENCE` and :data:`RATIO` of learning and frozen policy, if the schedule of alpha uses them."""
        return {}
