"""What an actor can learn from by imitation: rows of a log, each with its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.blockwise import policy_statistics
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.users.sequence import sessions_of


class Source(Protocol):
    """Rows to learn from: states, and what is right in each."""

    def __len__(self) -> int:
        """Number of rows, M."""

    def losses(self, policy: Policy, items: Tensor, rows: np.ndarray, block_items: int) -> Tensor:
        """Loss of some rows, with gradient.

        Args:
            policy: encoder and actor that learn.
            items: its item embeddings, ``(I + 1, d)``: ``policy.encoder.items()``.
            rows: ``(B,) int``, which rows.
            block_items: a larger catalogue is scored in blocks of so many items.

        Returns:
            ``(B,)``, nats.
        """


@dataclass(frozen=True)
class NextItems:
    r"""Logged next items, each with what the agent observes before it: :math:`-\log \pi(x_{t+1} | x_{1:t})`.

    The softmax is over the whole catalogue (SASRec as a next-item model; Kang & McAuley 2018).

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

    def losses(self, policy: Policy, items: Tensor, rows: np.ndarray, block_items: int) -> Tensor:
        observation, item = self.observation[rows], self.item[rows]
        state = policy.encoder(observation, items)
        if policy.config.n_items < block_items:
            return nn.functional.cross_entropy(policy.logits(observation, state, items), item, reduction="none")
        return -policy_statistics(policy.scores(observation, state, items), item, size=block_items).log_prob


def observations(session: np.ndarray, user: np.ndarray | None = None) -> Tensor:
    """Sessions ``(M, L)`` as the environment gives them, with their users (none: user 0): ``(M, 1 + L) int32``."""
    first = np.zeros(len(session), np.int32) if user is None else user
    return torch.from_numpy(np.concatenate([first[:, None].astype(np.int32), session.astype(np.int32)], 1))
