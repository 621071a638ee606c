"""RLModules of the references: one list for everybody, greedy on the train world's user model or on a recommender."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ialp_rllib.agent.envs.judge_played import GREEDY, SAMPLED
from ialp_rllib.agent.policy.acting import in_order
from ialp_rllib.agent.policy.networks import NetworkConfig, decode_items, mask
from ialp_rllib.agent.policy.offline_files import load_recommender
from ialp_rllib.agent.policy.references import train_model
from ialp_rllib.agent.rllib.baselines import FixedModule
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.users.sequence import score_all

_HELD = -1e8  # logit of an item that the session holds: above that of one that may not be recommended


class ListModule(FixedModule):
    """Plays one fixed list in order, greedy or sampled, see :class:`ialp_rllib.agent.policy.acting.Listed`.

    ``model_config["scores"]``: ``(I,)`` non-negative, the higher the earlier; items with equal scores follow in the
    order of their indices.
    """

    def acting_probs(self, observation: Tensor) -> Tensor:
        return in_order(self.scores, observation, self.recent)[1]


class JudgeModule(FixedModule):
    """Stands where a judge recommends by itself: says only whether greedily or sampled (:mod:`..envs.judge_played`)."""

    def select(self, observation: Tensor, mode: str) -> Tensor:
        return torch.full((len(observation),), GREEDY if mode == "greedy" else SAMPLED)


class _ScoredModule(ActorCriticModule):
    """Greedy on logits that are no part of the module's state; sampled: their softmax."""

    def get_non_inference_attributes(self) -> list[str]:
        return []

    def logits(self, observation: Tensor) -> Tensor:
        """Masked logits, ``(B, 1 + L)`` -> ``(B, I + 1)``."""
        raise NotImplementedError

    def acting_probs(self, observation: Tensor) -> Tensor:
        return torch.softmax(self.logits(observation), -1)

    def select(self, observation: Tensor, mode: str) -> Tensor:
        if mode == "greedy":  # of the logits: probabilities of a peaked model are equal in float32
            return self.logits(observation).argmax(1)
        return super().select(observation, mode)


class UserModelModule(_ScoredModule):
    """Greedy on the user model of the train world; sampled: the softmax of its logits.

    Items that the observed session holds come last: the users give nothing for them. ``model_config["user_model"]``:
    the run's folder, that the model and its catalogue are read from.
    """

    def setup(self) -> None:
        config = NetworkConfig.from_model_config(self.model_config, int(self.action_space.n))
        self.recent, self.n_items, self.target = config.mask_recent, config.n_items, None
        model, _ = train_model(Path(self.model_config["user_model"]))
        with torch.no_grad():
            self._user = (model, model.table())  # in a tuple: not a submodule

    def logits(self, observation: Tensor) -> Tensor:
        model, table = self._user
        scores = score_all(model, decode_items(observation[:, 1:].long(), self.n_items), table)
        return mask(torch.nn.functional.pad(scores.clamp(min=_HELD), (0, 1)), observation, self.recent)


class RecommenderModule(_ScoredModule):
    """The softmax head of a recommender that was trained on the log, :mod:`ialp_rllib.agent.policy.sequential`.

    ``model_config["recommender"]``: its folder. It reads the observed session, at most as many items as it was trained
    with, and no states of an LLM. Where it ranks unseen items alone, those that the session holds come last.
    """

    def setup(self) -> None:
        config = NetworkConfig.from_model_config(self.model_config, int(self.action_space.n))
        self.recent, self.n_items, self.target = config.mask_recent, config.n_items, None
        saved = load_recommender(Path(self.model_config["recommender"]))
        with torch.no_grad():
            self._saved = (saved, saved.network.items())  # in a tuple: not a submodule

    @torch.no_grad()
    def logits(self, observation: Tensor) -> Tensor:
        (network, masks_seen), table = self._saved
        session = decode_items(observation[:, 1:].long(), self.n_items)
        scores = network.logits(network.state_after(session, table), table)
        scores = torch.nn.functional.pad(scores, (0, 1))
        if masks_seen:
            scores.scatter_(1, session, _HELD)
        return mask(scores, observation, self.recent)
