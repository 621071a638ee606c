"""Warm start: the actor and its encoder by cross-entropy of the next item in a log, in plain PyTorch.

The loss is that of a softmax over the whole catalogue (SASRec as a next-item model; Kang & McAuley 2018). Training
stops by the cross-entropy on other users' log, and the temperature of the softmax is the one with the highest return of
the sampled policy in a world of users who are not tested on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.blockwise import policy_statistics
from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig, Policy
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import AgentSettings, WarmSettings
from ialp_rllib.users.planning import rollout
from ialp_rllib.users.sequence import sessions_of
from ialp_rllib.users.simulator import World

_HELD_OUT_ROWS = 1024  # rows per forward pass without gradient


@dataclass(frozen=True)
class NextItems:
    """Logged next items, each with what the agent observes before it.

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
        observation = np.concatenate([np.zeros((int(kept.sum()), 1), np.int32), session[kept]], 1)
        return NextItems(torch.from_numpy(observation), torch.from_numpy(item[kept]))


class WarmStart:
    """Training of one policy, pass by pass over the log; with the same seed always the same.

    Args:
        network: of the agent. Whatever ``shared_encoder`` says, the encoder is trained; the critic keeps its initial
            weights.
        train: rows to learn from, at least one.
        held_out: rows of other users to stop by, at least one.
        settings: of the training.
        agent: ``block_items`` (a larger catalogue is scored in blocks, with the same result) and ``gradient_clip``.
        seed: random seed of initial weights and batches.

    Attributes:
        curve: a row per pass: ``epoch``, ``updates`` so far, ``train_loss`` and ``held_out_loss``, nats per item.
        best: the pass with the lowest held-out loss, from 1; 0 before the first.
    """

    def __init__(
        self,
        network: NetworkConfig,
        train: NextItems,
        held_out: NextItems,
        settings: WarmSettings,
        agent: AgentSettings,
        seed: int,
    ) -> None:
        self._train, self._held_out, self._settings, self._agent, self._seed = train, held_out, settings, agent, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = ActorCritic(replace(network, shared_encoder=True))
        policy = self._net.policy
        self._optimizer = torch.optim.Adam(
            policy.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._best_weights = copy.deepcopy(self._net.state_dict())
        self.curve: list[dict[str, Any]] = []
        self.best = 0

    @property
    def finished(self) -> bool:
        """Whether all passes are done, or ``patience`` of them have not lowered the held-out loss."""
        passes = len(self.curve)
        return passes >= self._settings.epochs or passes - self.best >= self._settings.patience

    def run_epoch(self) -> None:
        """One pass over the log, and the held-out loss after it."""
        order = np.random.default_rng([self._seed, len(self.curve)]).permutation(len(self._train))
        parts = np.array_split(order, -(-len(order) // self._settings.batch))
        total = 0.0
        for rows in parts:
            loss = self._losses(self._train, rows).mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip = self._agent.gradient_clip or torch.inf
            nn.utils.clip_grad_norm_(self._net.policy.parameters(), clip)
            self._optimizer.step()
            total += float(loss.detach()) * len(rows)
        held_out = self._held_out_loss()
        lowest = min((row["held_out_loss"] for row in self.curve), default=np.inf)
        updates = (len(self.curve) + 1) * len(parts)
        losses = {"train_loss": total / len(order), "held_out_loss": held_out}
        self.curve.append({"epoch": len(self.curve) + 1, "updates": updates, **losses})
        if held_out < lowest:
            self.best, self._best_weights = len(self.curve), copy.deepcopy(self._net.state_dict())

    def _losses(self, data: NextItems, rows: np.ndarray) -> Tensor:
        """Cross-entropy of some rows, ``(B,)``."""
        policy, observation, item = self._net.policy, data.observation[rows], data.item[rows]
        if policy.config.n_items < self._agent.block_items:
            return nn.functional.cross_entropy(policy(observation), item, reduction="none")
        items = policy.encoder.items()
        scores = policy.scores(observation, policy.encoder(observation, items), items)
        return -policy_statistics(scores, item, size=self._agent.block_items).log_prob

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        parts = np.array_split(np.arange(len(self._held_out)), -(-len(self._held_out) // _HELD_OUT_ROWS))
        return sum(float(self._losses(self._held_out, rows).sum()) for rows in parts) / len(self._held_out)

    def result(self) -> ActorCritic:
        """The networks after the best pass."""
        net = copy.deepcopy(self._net)
        net.load_state_dict(self._best_weights)
        return net.eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next pass depends on, for a checkpoint between passes."""
        return {
            "weights": dict(self._net.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "best_weights": dict(self._best_weights),
            "best": self.best,
            "curve": self.curve,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`, of the same rows, settings and seed."""
        self._net.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best_weights, self.best, self.curve = state["best_weights"], state["best"], state["curve"]


@torch.no_grad()
def sampled_returns(
    policy: Policy, world: World, temperatures: Sequence[float], episodes: int, seed: int
) -> list[dict[str, float]]:
    """Mean return of the sampled policy at each temperature, with the same users and random numbers.

    Returns:
        ``temperature`` and ``return`` of each.
    """
    layout = {"history": policy.config.history, "feedback": policy.config.feedback}
    found = []
    for temperature in temperatures:

        def act(env: Any, active: np.ndarray, temperature: float = temperature) -> np.ndarray:
            logits = policy(torch.from_numpy(env.sim.observe()))
            items: np.ndarray = sample(torch.softmax(logits / temperature, -1)).numpy()
            return items

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            returns, _ = rollout(world, act, episodes, seed, spread=True, **layout)
        found.append({"temperature": float(temperature), "return": float(returns.mean())})
    return found


def best_temperature(returns: Iterable[dict[str, float]]) -> float:
    """The temperature with the highest return of :func:`sampled_returns`; of equal ones the highest temperature."""
    return max(returns, key=lambda row: (row["return"], row["temperature"]))["temperature"]


@torch.no_grad()
def divide_logits(policy: Policy, temperature: float) -> None:
    """Divide the logits by ``temperature``, in place: the policy's softmax is then the tempered one.

    What the actor's last layer and its bias give is scaled. Logits of items that may not be recommended stay what they
    are.
    """
    last = policy.actor.hidden[-1]
    for parameter in (*last.parameters(), policy.actor.bias):
        parameter.div_(temperature)
