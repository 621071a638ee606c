"""Vector environment of live pre-training, in which the judge plays the users (Algorithm 1)."""

from __future__ import annotations

import time
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import REFUSED, Answers, probability
from ialp_rllib.judge.candidates import propose, rejected_candidates
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.users.actions import distinct_candidates, require_items


class JudgeClient(Protocol):
    """A judge with asynchronous answers, such as :class:`ialp_rllib.judge.judge.LLMJudge`."""

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        """Submit ``(N, L)`` histories with ``(N, k)`` candidates, of ``(N,)`` users, without waiting for answers."""

    def collect(self, pending: PendingAnswers) -> Answers:
        """Wait for the answers."""


class JudgeVectorEnv(VectorEnv):
    """Environment of live pre-training: the judge plays the users of N parallel sessions (Algorithm 1).

    An action is ``(N, k) int``, k distinct candidates per session, of which the judge selects one or None. The selected
    item is appended to the session; for None it is a random candidate with reward 0 (Eqs. 2, 3). Sessions are truncated
    at the step limit and never terminate; ended ones are reset in the same step.

    To keep the judge busy while the policy learns, there are several groups of N sessions: ``step`` submits the
    candidates of the current group and returns the result of the *next* group, which was submitted one round earlier.
    Prompts of a group are submitted together. After ``reset`` the candidates of the other groups are uniform.

    ``info`` describes the transition that a step returns:

    - ``group``: index of the group;
    - ``obs``: ``(N, 1 + L) int32``, its observation before the step;
    - ``action``: ``(N,) int32``, the selected items;
    - ``passed``: ``(N, k - 1)``, the rejected candidates;
    - ``refused``: ``(N,) bool``, prompts without an answer (too long, or failed); their sessions continue with a random
      candidate, and the step is no valid transition;
    - ``prompts``: number of prompts;
    - ``seconds``: time spent waiting for the judge, including prompt construction;
    - ``final_obs``, ``episode``: of sessions that ended, the last observation, and the return ``r`` and length ``l``.
      A wrapper that adds up rewards by slot would mix the groups.

    Args:
        judge: the judge.
        users: ``(S,)`` users of the initial sessions that resets sample from.
        starts: ``(S,)`` first items of these sessions.
        n_items: number of items in the catalogue, I; also the index of "no item".
        n_users: number of users in the catalogue.
        num_envs: number of parallel sessions per group, N.
        candidates: number of candidates per prompt, k.
        steps: step limit of a session, T.
        history: number of session items in an observation, L.
        groups: number of groups; with 1, judge and policy wait for each other.
        rewards: ``label``: 1 for a selected candidate, 0 for None (Eq. 3); ``probability``: the probability of the
            selected candidate's label.

    Raises:
        InputError: there are fewer items than k candidates beside the first item of a session.
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
        require_items(n_items, 1, 1, "judge.candidates", candidates)
        self.judge, self.users, self.starts = judge, users, starts
        self.num_envs, self.history, self.horizon = num_envs, history, steps
        self.candidates, self.groups, self._soft = candidates, groups, rewards == "probability"
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        high = np.concatenate([[max(n_users - 1, 0)], np.full(history, n_items)]).astype(np.int32)
        self.single_observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.single_action_space = gym.spaces.Discrete(n_items)  # of the policy; step() takes (N, k) candidates
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.spaces.MultiDiscrete(np.full((num_envs, candidates), n_items))
        self.pad = n_items
        self._rng = np.random.default_rng()
        self._group = 0
        self._user = np.zeros((groups, num_envs), np.int64)
        self._steps = np.zeros((groups, num_envs), np.int64)
        self._session = np.full((groups, num_envs, max(history, steps + 1)), n_items, np.int32)
        self._returns = np.zeros((groups, num_envs))
        self._pending: list[PendingAnswers | None] = [None] * groups  # None for the current group
        self._started = False

    def _start_sessions(self, group: int, mask: np.ndarray) -> None:
        """Start new sessions of a group where ``mask``, ``(N,) bool``."""
        drawn = self._rng.integers(len(self.starts), size=int(mask.sum()))
        self._user[group, mask], self._steps[group, mask], self._returns[group, mask] = self.users[drawn], 0, 0
        self._session[group, mask] = self.pad
        self._session[group, mask, -1] = self.starts[drawn]

    def _observe(self, group: int) -> np.ndarray:
        user = self._user[group, :, None].astype(np.int32)
        return np.concatenate([user, self._session[group, :, -self.history :]], 1)

    def _submit(self, group: int, candidates: np.ndarray) -> None:
        self._pending[group] = self.judge.submit(
            self._session[group].copy(), candidates, users=self._user[group].copy()
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._group, self._pending, self._started = 0, [None] * self.groups, True
        for group in range(self.groups):
            self._start_sessions(group, np.ones(self.num_envs, bool))
        for group in range(1, self.groups):
            self._submit(group, propose(self._session[group, :, -1:], self.pad, self.candidates, self._rng))
        return self._observe(0), {"group": 0}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Submit the candidates of the current group, and return the result of the next one.

        Raises:
            ActionError: ``actions`` are no ``(N, k)`` items, distinct in each row.
            ResetNeeded: before the first reset.
            InputError: the judge answered none of the prompts.
        """
        if not self._started:
            raise ResetNeeded("call reset() before the first step()")
        actions = distinct_candidates(actions, (self.num_envs, self.candidates), self.pad)
        start = time.perf_counter()
        self._submit(self._group, actions)
        self._group = group = (self._group + 1) % self.groups
        pending, self._pending[group] = self._pending[group], None
        assert pending is not None  # submitted by reset() or by an earlier step
        answers = self.judge.collect(pending)
        info: dict[str, Any] = {
            "group": group,
            "obs": self._observe(group),
            "action": answers.item,
            "passed": rejected_candidates(pending.candidates, answers.item),
            "refused": answers.label == REFUSED,
            "prompts": len(pending.keys),
            "seconds": time.perf_counter() - start,
        }
        if info["refused"].all():
            reason = getattr(self.judge, "first_refusal", "")
            raise InputError("judge", f"every prompt of a step was refused: {reason}", "prompts it can answer")
        session = self._session[group]
        session[:, :-1] = session[:, 1:]
        session[:, -1] = answers.item
        self._steps[group] += 1
        reward = probability(pending.candidates, answers.item, answers.logprobs) if self._soft else answers.reward
        self._returns[group] += reward
        truncated = self._steps[group] >= self.horizon
        if truncated.any():
            returns, steps = self._returns[group], self._steps[group]
            episode = {"r": np.where(truncated, returns, 0.0), "l": np.where(truncated, steps, 0)}
            info |= {"final_obs": self._observe(group), "_final_obs": truncated}
            info |= {"episode": episode, "_episode": truncated}
            self._start_sessions(group, truncated)
        return self._observe(group), reward, np.zeros(self.num_envs, bool), truncated, info

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint, including the candidates of pending prompts (their histories are the sessions)."""
        return {
            "rng": self._rng.bit_generator.state,
            "group": self._group,
            "user": self._user.copy(),
            "steps": self._steps.copy(),
            "session": self._session.copy(),
            "returns": self._returns.copy(),
            "asked": [None if pending is None else pending.candidates.copy() for pending in self._pending],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`get_state` and submit the pending prompts again."""
        self._rng.bit_generator.state = state["rng"]
        self._group = state["group"]
        self._user, self._steps = state["user"].copy(), state["steps"].copy()
        self._session, self._returns = state["session"].copy(), state["returns"].copy()
        self._pending, self._started = [None] * self.groups, True
        for group, candidates in enumerate(state["asked"]):
            if candidates is not None:
                self._submit(group, candidates)
