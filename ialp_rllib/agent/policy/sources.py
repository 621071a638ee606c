"""What an actor can learn from by imitation: a log, a judge's preferences, a user model; rows with their losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.blockwise import policy_statistics
from ialp_rllib.agent.policy.negatives import Negatives, log_probs
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.shortlists import Part, item_scores
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.distillation.soft_labels import SoftLabels
from ialp_rllib.users.sequence import sessions_of


class Source(Protocol):
    """Rows to learn from: states, and what is right in each."""

    def __len__(self) -> int:
        """Number of rows, M."""

    def losses(self, policy: Policy, items: Tensor | Negatives, rows: np.ndarray, block_items: int) -> Tensor:
        """Loss of some rows, with gradient.

        Args:
            policy: encoder and actor that learn.
            items: its item embeddings, ``(I + 1, d)``: ``policy.encoder.items()``. Or items that stand for all of
                them: then only the embeddings of named items are read, with a sparse gradient.
            rows: ``(B,) int``, which rows.
            block_items: a larger catalogue is scored in blocks of so many items.

        Returns:
            ``(B,)``, nats.
        """


@dataclass(frozen=True)
class NextItems:
    r"""Logged next items, each with what the agent observes before it: :math:`-\log \pi(x_{t+1} | x_{1:t})`.

    The softmax is over the whole catalogue (SASRec as a next-item model; Kang & McAuley 2018), or over a sample of it
    (:mod:`.negatives`).

    Attributes:
        observation: ``(M, 1 + L) int32``, as the environment gives it: user 0, and the session so far.
        item: ``(M,) int64``.
    """

    observation: Tensor
    item: Tensor

    def __len__(self) -> int:
        return len(self.item)

    @staticmethod
    def of(catalogue: Catalogue, users: np.ndarray, network: NetworkConfig) -> NextItems:
        """The next items in the log of ``users``, without those that the agent's action mask forbids (repeats)."""
        session, item = sessions_of(catalogue, users, network.history)
        recent = session[:, 0 if network.mask_recent < 0 else network.history - network.mask_recent :]
        kept = ~(recent == item[:, None]).any(1)
        return NextItems(observations(session[kept]), torch.from_numpy(item[kept]))

    def losses(self, policy: Policy, items: Tensor | Negatives, rows: np.ndarray, block_items: int) -> Tensor:
        observation, item = self.observation[rows], self.item[rows]
        if isinstance(items, Negatives):
            return -log_probs(Part.of(policy, observation), observation, item[:, None], items)[:, 0]
        state = policy.encoder(observation, items)
        if policy.config.n_items < block_items:
            return nn.functional.cross_entropy(policy.logits(observation, state, items), item, reduction="none")
        return -policy_statistics(policy.scores(observation, state, items), item, size=block_items).log_prob


def observations(session: np.ndarray, user: np.ndarray | None = None) -> Tensor:
    """Sessions ``(M, L)`` as the environment gives them, with their users (none: user 0): ``(M, 1 + L) int32``."""
    first = np.zeros(len(session), np.int32) if user is None else user
    return torch.from_numpy(np.concatenate([first[:, None].astype(np.int32), session.astype(np.int32)], 1))


@dataclass(frozen=True)
class Listwise:
    r"""A judge's soft labels: the actor's softmax over the k candidates of a prompt against the judge's probabilities.

    .. math:: l_i = -w_i \sum_{c \in C_i} p_i(c) \log \pi_i(c), \qquad
              \pi_i(c) \propto \pi(c|s_i) / q_i(c), \qquad p_i(c) \propto P_\mathrm{judge}(c | C_i) / q_i(c)

    where both sum to 1 over the candidates. q is the probability of being one of them (:meth:`.SoftLabels.labels`).
    Dividing by it leaves the optimum where it is, and makes the sum an importance-weighted estimate of the
    cross-entropy over the whole catalogue. Uniform proposals need no correction.

    The weight w of a prompt is the judge's probability that the answer is not None, over the mean of the table. What a
    judge says of candidates none of which it would take says little of taste, and where it never says None all prompts
    count the same.

    Attributes:
        observation: ``(M, 1 + L) int32``.
        candidates: ``(M, k) int64``.
        labels: ``(M, k) float32``, p; rows sum to 1.
        proposal: ``(M, k) float32``, log q, up to a constant per prompt.
        weight: ``(M,) float32``, w.

    Source: Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach".
    """

    observation: Tensor
    candidates: Tensor
    labels: Tensor
    proposal: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.weight)

    @staticmethod
    def of(table: SoftLabels, chosen: np.ndarray) -> Listwise:
        """The rows ``chosen`` ``(M,) bool`` of a preference table."""
        rows = SoftLabels(*(column[chosen] for column in table))
        mean = max(float(table.answered.mean()), 1e-6)
        return Listwise(
            observations(rows.history, rows.user),
            torch.from_numpy(rows.candidates.astype(np.int64)),
            torch.from_numpy(rows.labels()),
            torch.from_numpy(rows.proposal),
            torch.from_numpy(rows.answered / np.float32(mean)),
        )

    def losses(self, policy: Policy, items: Tensor | Negatives, rows: np.ndarray, block_items: int) -> Tensor:
        observation, candidates = self.observation[rows], self.candidates[rows]
        if isinstance(items, Negatives):
            part = Part.of(policy, observation)
            scores = item_scores(policy.actor, part.hidden, candidates, part.rows(candidates))
        else:
            scores = policy.scores(observation, policy.encoder(observation, items), items).gather_many(candidates)
        logits = scores - self.proposal[rows]
        loss = -(self.labels[rows] * torch.log_softmax(logits, 1)).sum(1)
        return loss * self.weight[rows]


@dataclass(frozen=True)
class ModelTargets:
    r"""What a user model likes in each state: the cross-entropy of the actor with its softmax over the catalogue.

    .. math:: l_i = -\sum_{a} p_i(a) \log \pi(a|s_i), \qquad p_i \propto \exp(\mathrm{score}(s_i, a) / T)

    Up to the constant entropy of p this is :math:`\mathrm{KL}(p_i \| \pi)`. Of p the largest probabilities are kept;
    they sum to 1 then.

    Attributes:
        observation: ``(M, 1 + L) int32``.
        items: ``(M, K) int32``, in descending order of their probability.
        labels: ``(M, K) float32``, p.
        kept: mean share of p that the K items have.
    """

    observation: Tensor
    items: Tensor
    labels: Tensor
    kept: float

    def __len__(self) -> int:
        return len(self.items)

    @staticmethod
    def of(observation: Tensor, scores: Tensor, temperature: float, keep: int = 256) -> ModelTargets:
        """Targets from the scores ``(M, I)`` of all items; minus infinity for those that may not be recommended."""
        top = (scores / temperature).topk(min(keep, scores.shape[1]), dim=1)
        shares = torch.exp(top.values - torch.logsumexp(scores / temperature, 1, keepdim=True))
        kept = shares.sum(1, keepdim=True)
        return ModelTargets(observation, top.indices.int(), shares / kept, float(kept.mean()))

    @staticmethod
    def join(parts: Sequence[ModelTargets]) -> ModelTargets:
        """The rows of all parts."""
        rows = sum(len(one) for one in parts)
        return ModelTargets(
            torch.cat([one.observation for one in parts]),
            torch.cat([one.items for one in parts]),
            torch.cat([one.labels for one in parts]),
            sum(one.kept * len(one) for one in parts) / rows,
        )

    def take(self, rows: np.ndarray) -> ModelTargets:
        """Some of the rows."""
        return ModelTargets(self.observation[rows], self.items[rows], self.labels[rows], self.kept)

    def losses(self, policy: Policy, items: Tensor | Negatives, rows: np.ndarray, block_items: int) -> Tensor:
        observation, wanted, labels = self.observation[rows], self.items[rows].long(), self.labels[rows]
        if isinstance(items, Negatives):
            return -(labels * log_probs(Part.of(policy, observation), observation, wanted, items)).sum(1)
        state = policy.encoder(observation, items)
        if policy.config.n_items < block_items:
            logs = torch.log_softmax(policy.logits(observation, state, items), 1)
            return -(labels * logs.gather(1, wanted)).sum(1)
        scores = policy.scores(observation, state, items)
        shown = scores.gather_many(wanted)
        best = policy_statistics(scores, wanted[:, 0], size=block_items).log_prob  # has the sum over all items
        return shown[:, 0] - best - (labels * shown).sum(1)
