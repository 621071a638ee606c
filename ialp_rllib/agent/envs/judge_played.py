"""Simulated users to whom the judge itself recommends: the reference ``judge_direct``.

A judge without an LLM scores items (``judge.beliefs``), and ranks all that the session does not hold. Any other
judge plays a knockout over a shortlist: of the ``judge.shortlist`` items that are most popular in the visible log and
not in the session, it picks among ``judge.candidates`` in each prompt, and the picked ones meet in the next round.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ialp_rllib.agent.envs.judge import JudgeClient
from ialp_rllib.users.actions import require_items
from ialp_rllib.users.env import UserVectorEnv

GREEDY, SAMPLED = 0, 1
"""Actions of the policy: how the judge's label probabilities become an item."""
_ROWS = 1 << 20  # history-candidate pairs that are scored together


class JudgePlayedVectorEnv(VectorEnv):
    """Simulated users to whom the judge recommends; the action ``(N,)`` only says how it is played.

    Action :data:`GREEDY`: the item of the highest probability; other actions: drawn in proportion to the label
    probabilities, and where None is drawn the next best of the shortlist. ``info`` contains ``action``: ``(N,)`` the
    items, ``prompts``: number of prompts, and ``seconds``: time spent waiting for them.

    Args:
        users: environment of N users; the judge sees their complete sessions.
        judge: the judge.
        popularity: ``(I,)``, interactions of each item in the visible log.
        shortlist: items of the knockout; fewer where a session may leave fewer.
        candidates: candidates per prompt, k.

    Raises:
        InputError: a session may leave fewer items than k.
    """

    def __init__(
        self, users: UserVectorEnv, judge: JudgeClient, popularity: np.ndarray, shortlist: int, candidates: int
    ) -> None:
        self.users, self.judge, self.sim = users, judge, users.sim
        world = users.sim.world
        self.scores_all = hasattr(judge, "beliefs")
        require_items(world.n_items, world.horizon, -1, "judge.candidates", candidates)
        free = world.n_items - world.horizon  # at least, at every step
        self.shortlist, self.candidates = min(shortlist, free // candidates * candidates), candidates
        self._ranked = np.argsort(-popularity, kind="stable")
        self._rng = np.random.default_rng()
        self.num_envs = users.num_envs
        self.set_autoreset(users.metadata["autoreset_mode"])
        self.single_observation_space = users.single_observation_space
        self.single_action_space, self.action_space = users.single_action_space, users.action_space
        self.observation_space = users.observation_space

    def set_autoreset(self, autoreset: str | AutoresetMode) -> None:
        """Change the autoreset mode, see :meth:`ialp_rllib.users.env.UserVectorEnv.set_autoreset`."""
        self.users.set_autoreset(autoreset)
        self.metadata = self.users.metadata

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng([seed, 7])
        return self.users.reset(seed=seed, options=options)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Let the judge choose every user's item, and recommend it."""
        start = time.perf_counter()
        history, users, greedy = self.sim.session, self.sim.user, np.asarray(actions) == GREEDY
        if self.scores_all:
            items, prompts = self._best(history, users, greedy), 0
        else:
            items, prompts = self._knockout(history, users, greedy)
        seconds = time.perf_counter() - start
        *result, info = self.users.step(items)
        info |= {"action": items, "prompts": prompts, "seconds": seconds}
        return *result, info  # type: ignore[return-value]

    def _best(self, history: np.ndarray, users: np.ndarray, greedy: np.ndarray) -> np.ndarray:
        """The item of the highest belief that the session does not hold; sampled: in proportion to exp(belief)."""
        n, n_items = len(history), self.sim.world.n_items
        beliefs = np.empty((n, n_items))
        rows = max(1, _ROWS // n_items)
        for first in range(0, n, rows):
            part = slice(first, first + rows)
            shown = np.broadcast_to(np.arange(n_items), (len(history[part]), n_items))
            beliefs[part] = self.judge.beliefs(history[part], shown, users[part])  # type: ignore[attr-defined]
        held = np.concatenate([np.zeros((n, n_items), bool), np.ones((n, 1), bool)], 1)
        np.put_along_axis(held, history, True, 1)
        beliefs[held[:, :-1]] = -np.inf
        noise = self._rng.gumbel(size=beliefs.shape)  # the maximum of beliefs + noise is a draw from their softmax
        return np.where(greedy, beliefs.argmax(1), (beliefs + noise).argmax(1))

    def _knockout(self, history: np.ndarray, users: np.ndarray, greedy: np.ndarray) -> tuple[np.ndarray, int]:
        """The winner of the shortlist, ``(N,)``, and the number of prompts.

        Every prompt has k distinct candidates: where a round has too few, other items fill it up, which cannot win.
        """
        k, prompts = self.candidates, 0
        left = self._with_others(np.empty((len(history), 0), np.int64), history, self.shortlist)
        while (count := left.shape[1]) > 1:
            games = -(-count // k)
            shown = self._with_others(left, history, games * k).reshape(-1, k)
            filler = np.tile(np.arange(games * k) >= count, len(left)).reshape(-1, k)
            order = self._rng.permuted(np.tile(np.arange(k), (len(shown), 1)), axis=1)  # LLMs favour some letters
            shown, filler = (np.take_along_axis(values, order, 1) for values in (shown, filler))
            pending = self.judge.submit(np.repeat(history, games, 0), shown, users=np.repeat(users, games))
            logprobs = self.judge.collect(pending).logprobs
            prompts += len(pending.keys)
            left = self._winners(shown, logprobs, filler, np.repeat(greedy, games)).reshape(-1, games)
        return left[:, 0], prompts

    def _winners(self, shown: np.ndarray, logprobs: np.ndarray, filler: np.ndarray, greedy: np.ndarray) -> np.ndarray:
        """The winner of each prompt, ``(B,)``; of a refused one (NaN) and of None drawn, the best that takes part."""
        labels = np.nan_to_num(logprobs.astype(np.float64), nan=0.0, neginf=-1e9)
        labels[:, :-1][filler] = -np.inf
        drawn = (labels + self._rng.gumbel(size=labels.shape)).argmax(1)
        best = labels[:, :-1].argmax(1)
        index = np.where(greedy | (drawn == shown.shape[1]), best, drawn)
        return np.take_along_axis(shown, index[:, None], 1)[:, 0]

    def _with_others(self, items: np.ndarray, history: np.ndarray, width: int) -> np.ndarray:
        """``items`` and the most popular others that the session does not hold, ``(N, width)``."""
        excluded = np.concatenate([items, history], 1)
        ranked = self._ranked[: width + history.shape[1]]
        rank = np.full(self.sim.world.n_items + 1, len(ranked))
        rank[ranked] = np.arange(len(ranked))
        free = np.ones((len(history), len(ranked) + 1), bool)
        np.put_along_axis(free, rank[excluded], False, 1)
        order = np.argsort(~free[:, :-1], axis=1, kind="stable")[:, : width - items.shape[1]]
        return np.concatenate([items, ranked[order]], 1)

    def get_state(self) -> dict[str, Any]:
        """State of the users for a checkpoint."""
        return self.users.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self.users.set_state(state)
