"""Pre-training's environment: the judge is the user (Algorithm 1, live)."""

from __future__ import annotations

import time
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import REFUSED, Answers, probability
from ialp_rllib.judge.candidates import propose, rejected_candidates
from ialp_rllib.judge.protocol import PendingAnswers


class JudgeClient(Protocol):
    """A judge that is asked now and heard later: see :class:`ialp_rllib.judge.judge.LLMJudge`."""

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        """Give in a question: ``(N, L)`` histories, ``(N, k)`` candidates, ``(N,)`` users."""

    def collect(self, pending: PendingAnswers) -> Answers:
        """Wait for its answers."""


class JudgeVectorEnv(VectorEnv):
    """Groups of N sessions that take turns. An action is a row of k candidate items; the judge picks one of them.

    A step gives in the current group's question and returns what the *next* group's question came to, asked a round
    before. So the judge is at one group's question while the policy learns from another's answers and prepares its next
    proposals. One question carries all N prompts of a group. The other groups' first proposals are uniform ones.

    ``info`` of a step says what its transition is: ``group`` (whose), ``obs`` (the observation before), ``action`` (the
    picked items, Eqs. 2-3), ``passed`` (``(N, k - 1)``, the other candidates), ``refused`` (``(N,) bool``: prompts that
    could not be asked; the session goes on with a random candidate, but nobody has judged it), ``prompts`` (how many
    this question had) and ``seconds`` (for which the judge kept us waiting, writing prompts included). A session ends
    at the step limit only, which is a truncation.

    Args:
        judge: who picks.
        users: ``(S,)`` whose sessions start with ``starts`` ``(S,)``.
        n_items: size of the catalogue.
        n_users: users that an observation can name.
        num_envs: N.
        candidates: k.
        steps: T, the step limit.
        history: items in the observation, L.
        groups: how many; 1: the judge waits while the policy learns, and the policy while the judge answers.
        rewards: ``label`` (1, or 0 for None: Eq. 3) or ``probability`` (of the picked item's label).
    """

    def __init__(
        self,
        judge: JudgeClient,
        users: np.ndarray,
        starts: np.ndarray,
        *,
        n_items: int,
        n_users: int,
        num_envs: int,
        candidates: int,
        steps: int,
        history: int,
        groups: int = 2,
        rewards: str = "label",
    ) -> None:
        self.judge, self.users, self.starts = judge, users, starts
        self.num_envs, self.history, self.horizon = num_envs, history, steps
        self.candidates, self.groups, self.soft = candidates, groups, rewards == "probability"
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        high = np.concatenate([[max(n_users - 1, 0)], np.full(history, n_items)]).astype(np.int32)
        self.single_observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.single_action_space = gym.spaces.Discrete(n_items)  # of the policy; what step() takes is (N, k) of them
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.spaces.MultiDiscrete(np.full((num_envs, candidates), n_items))
        self.pad = n_items
        self._rng = np.random.default_rng()
        self._group = 0
        self._user = np.zeros((groups, num_envs), np.int64)
        self._steps = np.zeros((groups, num_envs), np.int64)
        self._session = np.full((groups, num_envs, max(history, steps + 1)), n_items, np.int32)
        self._pending: list[PendingAnswers | None] = [None] * groups  # the current group has no question under way

    def _begin(self, group: int, who: np.ndarray) -> None:
        """New sessions in the places ``who`` (``(N,) bool``) of a group."""
        drawn = self._rng.integers(len(self.starts), size=int(who.sum()))
        self._user[group, who], self._steps[group, who] = self.users[drawn], 0
        self._session[group, who] = self.pad
        self._session[group, who, -1] = self.starts[drawn]

    def _observe(self, group: int) -> np.ndarray:
        user = self._user[group, :, None].astype(np.int32)
        return np.concatenate([user, self._session[group, :, -self.history :]], 1)

    def _ask(self, group: int, candidates: np.ndarray) -> None:
        self._pending[group] = self.judge.submit(
            self._session[group].copy(), candidates, users=self._user[group].copy()
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._group, self._pending = 0, [None] * self.groups
        for group in range(self.groups):
            self._begin(group, np.ones(self.num_envs, bool))
        for group in range(1, self.groups):
            self._ask(group, propose(self._session[group, :, -1:], self.pad, self.candidates, self._rng))
        return self._observe(0), {"group": 0}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        began = time.perf_counter()
        self._ask(self._group, actions)
        self._group = group = (self._group + 1) % self.groups
        pending, self._pending[group] = self._pending[group], None
        assert pending is not None, "reset() comes before step()"
        answers = self.judge.collect(pending)
        info: dict[str, Any] = {
            "group": group,
            "obs": self._observe(group),
            "action": answers.item,
            "passed": rejected_candidates(pending.candidates, answers.item),
            "refused": answers.label == REFUSED,
            "prompts": len(pending.keys),
            "seconds": time.perf_counter() - began,
        }
        if info["refused"].all():
            why = getattr(self.judge, "first_refusal", "")
            raise InputError("judge", f"every prompt of a step was refused: {why}", "prompts that it can be asked")
        session = self._session[group]
        session[:, :-1] = session[:, 1:]
        session[:, -1] = answers.item
        self._steps[group] += 1
        truncated = self._steps[group] >= self.horizon
        if truncated.any():
            info |= {"final_obs": self._observe(group), "_final_obs": truncated}
            self._begin(group, truncated)
        reward = probability(pending.candidates, answers.item, answers.logprobs) if self.soft else answers.reward
        return self._observe(group), reward, np.zeros(self.num_envs, bool), truncated, info

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint, with the questions that are under way (a group's session is their history)."""
        return {
            "rng": self._rng.bit_generator.state,
            "group": self._group,
            "user": self._user.copy(),
            "steps": self._steps.copy(),
            "session": self._session.copy(),
            "asked": [None if pending is None else pending.candidates.copy() for pending in self._pending],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`get_state` gave. What was under way is asked again: its answers are the same ones."""
        self._rng.bit_generator.state = state["rng"]
        self._group = state["group"]
        self._user, self._steps = state["user"].copy(), state["steps"].copy()
        self._session, self._pending = state["session"].copy(), [None] * self.groups
        for group, candidates in enumerate(state["asked"]):
            if candidates is not None:
                self._ask(group, candidates)
