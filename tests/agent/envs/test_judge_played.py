"""The judge as the policy: an oracle over all items, an LLM by knockout over popular items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ialp_rllib.agent.envs.judge_played import GREEDY, SAMPLED, JudgePlayedVectorEnv
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import read_answers
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.users.env import UserVectorEnv
from tests.agent.small import make_world

N, ITEMS, K = 6, 40, 4
POPULARITY = np.arange(ITEMS)[::-1].astype(float)  # item 0 is the most popular


class Prefers:
    """A judge that likes item i by ``value(i)``, or refuses."""

    def __init__(self, value: Any, none: float = -5.0) -> None:
        self.value, self.none, self.asked = value, none, []

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        self.asked.append((history.copy(), candidates.copy()))
        scores = np.concatenate([self.value(candidates), np.full((len(candidates), 1), self.none)], 1)
        logprobs = (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)
        return PendingAnswers(history, candidates, [b""] * len(history), logprobs, {})

    def collect(self, pending: PendingAnswers) -> Any:
        return read_answers(pending.logprobs, pending.history, pending.candidates, pad=ITEMS, seed=0)


class Oracle(Prefers):
    def beliefs(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray) -> np.ndarray:
        return self.value(candidates)


def played(judge: Any, shortlist: int = 10) -> JudgePlayedVectorEnv:
    users = UserVectorEnv(make_world(ITEMS), N, 8, "same_step")
    env = JudgePlayedVectorEnv(users, judge, POPULARITY, shortlist, K)
    env.reset(seed=1)
    return env


def test_an_oracle_takes_the_best_item_that_the_session_does_not_hold() -> None:
    env = played(Oracle(lambda items: items / 10.0))
    for _ in range(5):
        held = [set(session.tolist()) for session in env.sim.session]
        *_, info = env.step(np.full(N, GREEDY))
        best = [max(set(range(ITEMS)) - items) for items in held]
        assert info["action"].tolist() == best and info["prompts"] == 0


def test_a_knockout_finds_the_best_of_the_shortlist_with_distinct_candidates() -> None:
    judge = Prefers(lambda items: items / 4.0)
    env = played(judge)
    for _ in range(4):
        judge.asked.clear()
        held = [set(session.tolist()) for session in env.sim.session]
        *_, info = env.step(np.full(N, GREEDY))
        shortlists = [[item for item in range(ITEMS) if item not in items][:10] for items in held]
        assert info["action"].tolist() == [max(shortlist) for shortlist in shortlists]
        assert info["prompts"] == N * (3 + 1)  # 10 items in games of 4, then 3 winners and a filler
        for history, candidates in judge.asked:
            assert all(len(set(row)) == K for row in candidates.tolist())
            assert not (candidates[:, :, None] == history[:, None]).any()


def test_sampled_items_follow_the_label_probabilities_and_none_gives_the_best() -> None:
    env = played(Prefers(lambda items: np.zeros(items.shape)), shortlist=4)
    drawn = np.concatenate([env.step(np.full(N, SAMPLED))[-1]["action"] for _ in range(60)])
    assert len(set(drawn.tolist())) > 4
    env = played(Prefers(lambda items: items / 10.0, none=50.0), shortlist=4)
    held = [set(session.tolist()) for session in env.sim.session]
    *_, info = env.step(np.full(N, SAMPLED))
    assert info["action"].tolist() == [[i for i in range(ITEMS) if i not in items][3] for items in held]


def test_a_refused_prompt_and_too_few_items() -> None:
    env = played(Prefers(lambda items: np.full(items.shape, np.nan)))
    *_, info = env.step(np.full(N, GREEDY))
    assert (info["action"] < ITEMS).all()
    users = UserVectorEnv(make_world(12), N, 8, "same_step")
    with pytest.raises(InputError, match=r"judge\.candidates"):
        JudgePlayedVectorEnv(users, Prefers(None), POPULARITY[:12], 10, K)
