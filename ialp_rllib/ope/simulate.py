"""Logs of simulated users, and true returns: what estimates are tested against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.ope.targets import Target
from ialp_rllib.results.logged import LEFT, LIMIT, LOGGED
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.simulator import World


class _Step(NamedTuple):
    """One step of N users, of whom ``running`` are in their first session."""

    running: NDArray[np.bool_]
    session: NDArray[np.int64]
    answered: NDArray[np.int32]
    user: NDArray[np.int64]
    action: NDArray[np.int64]
    probability: NDArray[np.float64]
    reward: NDArray[np.float64]
    left: NDArray[np.bool_]
    limit: NDArray[np.bool_]


def simulate_log(world: World, target: Target, sessions: int, seed: int, parallel: int = 500) -> pa.Table:
    """Complete sessions of a policy, as :data:`ialp_rllib.results.logged.LOGGED`; with the same seed always the same.

    The logged probability is that of the whole act: of a policy that draws a component per session, given the session
    so far (see :class:`Draw`). ``alpha`` is the weight of the learning part, ``version`` 0.

    Args:
        world: without return visits.
        target: the logging policy; its items are those of the world.
        sessions: number of sessions.
        seed: random seed.
        parallel: users that are simulated together.
    """
    tables, (chance, last) = [], target.components[-1]
    alpha = chance if len(target.components) > 1 else float(getattr(last, "alpha", 0.0))
    for start in range(0, sessions, parallel):
        count = min(parallel, sessions - start)
        for position, step in enumerate(_play(world, target, count, [seed, start])):
            tables.append(_rows(step, target, position, start, alpha))
    return pa.concat_tables(tables)


def true_return(world: World, target: Target, sessions: int, seed: int, parallel: int = 2000) -> tuple[float, float]:
    """Mean return of a policy over simulated sessions, and its standard error."""
    returns = []
    for start in range(0, sessions, parallel):
        count = min(parallel, sessions - start)
        total = np.zeros(count)
        for step in _play(world, target, count, [seed, start]):
            total += step.reward * step.running
        returns.append(total)
    values = np.concatenate(returns)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


class Draw:
    r"""Which component of a policy acts in each of N sessions, and how probable its acts are.

    A component is drawn with the session and kept. Given what a session has shown, the probability that the drawn one
    is k is :math:`c_k \propto w_k \prod_{i < t} \pi_k(a_i|s_i)`, and that of the next item
    :math:`\sum_k c_k \pi_k(a|s_t)`: the draw itself is nowhere in it. The product over a session is
    :math:`\sum_k w_k \prod_t \pi_k(a_t|s_t)`: ratios of two such policies are bounded by those of their weights.
    """

    def __init__(self, target: Target, n: int, generator: torch.Generator) -> None:
        self._parts, self._generator = [part for _, part in target.components], generator
        shares = torch.tensor([share for share, _ in target.components], dtype=torch.float64)
        self._logits = shares.log().repeat(n, 1)
        uniform = torch.rand(n, 1, dtype=torch.float64, generator=generator)
        self.drawn = torch.searchsorted(shares.cumsum(0), uniform).clamp(max=len(shares) - 1)[:, 0]

    def act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Items and their probabilities, ``(N,) int64`` and ``(N,) float64``."""
        probs = torch.stack([part.probabilities(observation) for part in self._parts])
        own = probs[self.drawn, torch.arange(len(observation))].double()
        cumulative = own.cumsum(-1)
        uniform = 1 - torch.rand(len(own), 1, dtype=torch.float64, generator=self._generator)
        action = torch.searchsorted(cumulative, uniform * cumulative[:, -1:])
        of_parts = (probs.double().gather(2, action.expand(len(probs), -1, -1))[:, :, 0]).T
        of_parts = of_parts / probs.double().sum(2).T
        probability = (torch.softmax(self._logits, 1) * of_parts).sum(1)
        self._logits = self._logits + of_parts.log()
        return action[:, 0], probability


def _play(world: World, target: Target, n: int, seed: list[int]) -> Iterator[_Step]:
    """Steps of N users until all of their first sessions have ended."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
    draw = Draw(target, n, torch.Generator().manual_seed(number))
    env = UserVectorEnv(world, n, target.network.history, feedback=target.network.feedback)
    observation, _ = env.reset(seed=number)
    running = np.ones(n, bool)
    while running.any():
        user = env.sim.user.copy() if world.shows_user else np.full(n, -1)
        session, answered = env.sim.session.copy(), env.sim.answered.copy()
        action, probability = draw.act(torch.from_numpy(observation).long())
        observation, reward, left, limit, _ = env.step(action.numpy())
        rewards = reward.astype(np.float64)
        yield _Step(running, session, answered, user, action.numpy(), probability.numpy(), rewards, left, limit)
        running = running & ~(left | limit)


def _rows(step: _Step, target: Target, position: int, start: int, alpha: float) -> pa.Table:
    slots = np.flatnonzero(step.running)
    rows, held = len(slots), step.session[slots] < target.network.n_items
    offsets = pa.array(np.concatenate([[0], np.cumsum(held.sum(1))]), pa.int32())
    ids, names = pa.array(target.item_ids, pa.string()), [str(start + slot) for slot in slots]
    user_ids = target.user_ids if len(target.user_ids) else None
    users = [("" if user < 0 else str(user if user_ids is None else user_ids[user])) for user in step.user[slots]]
    ended = np.where(step.left[slots], LEFT, np.where(step.limit[slots], LIMIT, ""))
    answers = pa.nulls(rows, LOGGED.field("answers").type)
    if target.network.feedback:
        answers = pa.ListArray.from_arrays(offsets, pa.array(step.answered[slots][held], pa.int32()))
    columns = {
        "decision": [f"{name}-{position}" for name in names],
        "session": names,
        "user": users,
        "position": np.full(rows, position),
        "items": pa.ListArray.from_arrays(offsets, ids.take(pa.array(step.session[slots][held]))),
        "item": ids.take(pa.array(step.action[slots])),
        "probability": step.probability[slots],
        "version": np.zeros(rows, np.int64),
        "alpha": np.full(rows, alpha),
        "reward": step.reward[slots],
        "ended": ended.tolist(),
        "arm": [""] * rows,
        "answers": answers,
    }
    arrays = [value if isinstance(value, pa.Array) else pa.array(value) for value in columns.values()]
    return pa.table(arrays, names=list(columns)).cast(LOGGED)
