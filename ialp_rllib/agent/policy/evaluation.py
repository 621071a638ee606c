r"""Policy evaluation: the critic of a policy that starts without one, learnt from rollouts of that very policy.

A policy that was made without reward (from a log, or by imitation of a judge) has a critic of random weights. Online,
its first updates follow the errors of that critic, and what was learnt before is lost.
Here the frozen policy plays some steps in a world, and the heads of the critic are fitted to the returns:

.. math:: \min_Q \; (Q(s_t, a_t) - G_t)^2 + c\,\mathrm{E}_{a \sim U} \max(Q(s_t, a) - V(s_t), 0)^2

:math:`G_t` is the discounted return of the rest of the episode (where it was cut short, with the critic's value of the
last state) and :math:`V(s) = \mathrm{E}_{a \sim \pi} Q(s, a)`, without gradient. The second term is for items that the
policy does not recommend, drawn uniformly: no sample bounds what a network says of them. It pushes their value down to
that of the policy itself, and no further: above it the actor would run to items that nobody has tried; a penalty
without that floor, as in CQL, makes everything that was not tried look worse than it is, and the first honest online
returns would then be unlearned. Cal-QL (Nakamoto et al. 2023) has a floor for the same reason, but another one:
there it is the Monte Carlo return of the logged behaviour, and the term stays in the loss online. Here it is the
critic's own value of the policy, and the term is of this fit alone.

The encoder stays as it is, so that the policy does not change; all that is trained are the heads, on states that are
encoded once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.blockwise import mean_score
from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import ActorCritic
from ialp_rllib.agent.policy.replay import Transitions
from ialp_rllib.settings import AgentSettings
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.simulator import World

_ENVS, _BATCH, _PASSES, _OTHERS = 64, 256, 8, 16
_PENALTY = 1.0  # c
_BLOCK = 1024  # states that are scored together


@dataclass(frozen=True)
class Rollouts:
    """Steps of a policy in sessions, one after the other, each in time: M rows.

    Attributes:
        columns: transitions, see :mod:`ialp_rllib.agent.policy.replay`.
        ends: ``(M,) bool``, rows after which nothing of the same session follows.
    """

    columns: Transitions
    ends: np.ndarray

    @staticmethod
    def of_slots(columns: Transitions, steps: int) -> Rollouts:
        """Rollouts of environment slots, ``steps`` rows each, slot by slot."""
        last = np.arange(len(columns["rewards"])) % steps == steps - 1
        return Rollouts(columns, np.asarray(columns["terminateds"] | columns["truncateds"], bool) | last)

    @property
    def cut(self) -> np.ndarray:
        """Indices of the rows after which a session would have gone on, and is not known to."""
        return np.flatnonzero(self.ends & ~np.asarray(self.columns["terminateds"], bool))

    def returns(self, values: np.ndarray, gamma: float) -> np.ndarray:
        """Discounted returns :math:`G_t` of the rest of each episode, ``(M,) float32``.

        Args:
            values: ``(M,)``, the value of the state after each row, used where a session was cut short: by the step
                limit, or because no further step of it is known.
            gamma: discount factor.
        """
        terminated = np.asarray(self.columns["terminateds"], np.float64)
        found = np.asarray(self.columns["rewards"], np.float64).copy()
        ends = np.flatnonzero(self.ends)
        found[ends] += gamma * (1 - terminated[ends]) * np.asarray(values, np.float64)[ends]
        left = ends[np.searchsorted(ends, np.arange(len(found)))] - np.arange(len(found))  # rows of the session to come
        order = np.argsort(left, kind="stable")
        for rows in np.split(order, np.cumsum(np.bincount(left)))[1:-1]:  # all sessions at once, from their ends
            found[rows] += gamma * found[rows + 1]
        return found.astype(np.float32)

    def mean_value(self, gamma: float) -> float:
        """The one value of all states that agrees with the returns that it gives to sessions that were cut short."""
        count = len(self.ends)
        nothing, one = (float(self.returns(np.full(count, value), gamma).mean()) for value in (0.0, 1.0))
        return nothing / (1 - min(one - nothing, gamma))


@torch.no_grad()
def roll_out(net: ActorCritic, world: World, steps: int, seed: int) -> Rollouts:
    """At least ``steps`` steps of the sampled policy of ``net`` in a world; with the same seed always the same."""
    config = net.policy.config
    env = UserVectorEnv(world, _ENVS, config.history, "same_step", feedback=config.feedback)
    observation, _ = env.reset(seed=seed)
    rows: list[dict[str, np.ndarray]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(-(-steps // _ENVS)):
            action = sample(torch.softmax(net.policy(torch.from_numpy(observation)), -1)).numpy()
            after, reward, terminated, truncated, info = env.step(action)
            last = info["final_obs"] if (terminated | truncated).any() else after
            rows.append(
                {
                    "obs": observation,
                    "actions": action.astype(np.int64),
                    "rewards": np.asarray(reward, np.float32),
                    "new_obs": last,
                    "terminateds": terminated.copy(),
                    "truncateds": truncated & ~terminated,
                }
            )
            observation = after
    columns = {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
    return Rollouts.of_slots({name: array.reshape(-1, *array.shape[2:]) for name, array in columns.items()}, len(rows))


class PolicyEvaluation:
    """Fits the critic of ``net`` to rollouts of its policy; with the same seed always the same.

    Args:
        net: its policy stays as it is; its critic is replaced by one of new random weights.
        rollouts: of this policy; or the sessions of a log, whose returns are those of what was recommended then.
        agent: ``gamma``, ``critic_lr``, ``gradient_clip``, ``block_items``.
        seed: random seed of the critic's weights and of the batches.

    Attributes:
        returns: ``(M,) float32``, what the critic was fitted to in the last pass of :meth:`fit`.
    """

    def __init__(self, net: ActorCritic, rollouts: Rollouts, agent: AgentSettings, seed: int) -> None:
        self._net, self._rollouts, self._agent = copy.deepcopy(net), rollouts, agent
        self._rng = np.random.default_rng([seed, 4])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net.critic = type(net.critic)(net.policy.encoder.width, net.policy.config)
        columns = rollouts.columns
        with torch.no_grad():
            self._items = self._net.policy.encoder.items()
        self._state, self._after = self._encode(columns["obs"]), self._encode(columns["new_obs"])
        self._action = torch.from_numpy(columns["actions"])

    @torch.no_grad()
    def _encode(self, observation: np.ndarray) -> Tensor:
        encoder = self._net.policy.encoder
        return torch.cat([encoder(part, self._items) for part in torch.split(torch.from_numpy(observation), _BLOCK)])

    @torch.no_grad()
    def _values(self, observation: np.ndarray, state: Tensor) -> Tensor:
        """:math:`V(s)` of the policy by the critic, ``(M,)``."""
        policy, critic, parts = self._net.policy, self._net.critic, []
        for seen, encoded in zip(
            torch.split(torch.from_numpy(observation), _BLOCK), torch.split(state, _BLOCK), strict=True
        ):
            q, logits = critic.advantage.scores(encoded, self._items), policy.scores(seen, encoded, self._items)
            parts.append(mean_score(q, logits, size=self._agent.block_items) + critic.state_value(encoded))
        return torch.cat(parts)

    def fit(self) -> dict[str, Any]:
        """Fit the critic. Returns facts: rows, mean return and value, and the share of the returns' variance left."""
        critic, columns = self._net.critic, self._rollouts.columns
        optimizer = torch.optim.Adam(critic.parameters(), lr=self._agent.critic_lr, fused=True)
        cut = self._rollouts.cut
        after = np.full(len(self._action), self._rollouts.mean_value(self._agent.gamma), np.float32)
        for number in range(_PASSES):
            if number:
                after[cut] = self._values(columns["new_obs"][cut], self._after[cut]).numpy()
            self.returns = self._rollouts.returns(after, self._agent.gamma)
            goal = torch.from_numpy(self.returns)
            if not number:
                self._begin_at(goal.mean())
            value = self._values(columns["obs"], self._state)
            for rows in np.array_split(self._rng.permutation(len(goal)), -(-len(goal) // _BATCH)):
                loss = self._loss(rows, goal[rows], value[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(critic.parameters(), self._agent.gradient_clip or torch.inf)
                optimizer.step()
        with torch.no_grad():
            q = critic.action_value(self._state, self._items, self._action)
        return {
            "rows": len(goal),
            "mean_return": float(goal.mean()),
            "mean_value": float(self._values(columns["obs"], self._state).mean()),
            "unexplained": float((q - goal).square().mean() / goal.var()),
        }

    @torch.no_grad()
    def _begin_at(self, mean: Tensor) -> None:
        """Let the critic begin at the mean return: many small steps less."""
        critic = self._net.critic
        bias: Tensor = critic.advantage.bias if critic.value is None else [*critic.value.parameters()][-1]
        bias += mean

    def _loss(self, rows: np.ndarray, goal: Tensor, value: Tensor) -> Tensor:
        critic, state = self._net.critic, self._state[rows]
        q = critic.action_value(state, self._items, self._action[rows])
        others = torch.from_numpy(self._rng.integers(len(self._items) - 1, size=_OTHERS))
        hidden = critic.advantage.hidden(state)
        untried = hidden @ self._items[others].T + critic.advantage.bias[others] + critic.state_value(state)[:, None]
        excess = (untried - value[:, None]).clamp(min=0)
        loss: Tensor = (q - goal).square().mean() + _PENALTY * excess.square().mean()
        return loss

    def result(self) -> ActorCritic:
        """The networks with the fitted critic."""
        return self._net.eval()
