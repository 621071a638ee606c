"""The pool of engines in Ray actors: the answers of one engine, whatever happens to those that give them."""

from __future__ import annotations

import dataclasses
import os
import signal
import time

import numpy as np
import psutil
import pytest
import ray

from ialp_rllib import runtime
from ialp_rllib.errors import InputError
from ialp_rllib.judge import actor
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.pool import EnginePool
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.judge.start import start_judge
from ialp_rllib.settings import JudgeSettings, RuntimeSettings
from tests.processes import children


@pytest.fixture(scope="module")
def ray_here():
    runtime.start(RuntimeSettings(cpus=4))
    yield
    runtime.stop()


def engine_processes() -> list[psutil.Process]:
    """The processes in which engines of this test run live."""
    return children(ray._private.worker._global_node.all_processes["raylet"][0].process.pid, "EngineActor")


@pytest.fixture
def near(transformers_engine, sample, catalogue) -> LLMJudge:
    return LLMJudge(InProcessClient(transformers_engine), catalogue, sample.judge)


@pytest.fixture(scope="module")
def far(ray_here, sample, catalogue):
    """Two real engines that count as hung after 4 seconds."""
    settings = dataclasses.replace(sample.judge, engine="transformers", batch=16, replicas=2, timeout=4.0)
    judge = start_judge(settings, catalogue, "tiny")
    yield judge
    judge.close()


def test_many_answer_as_one(far, near, questions):
    first, second = (far.submit(questions.history[n], questions.candidates[n]) for n in (slice(0, 90), slice(90, 128)))
    expected = near.answer(questions.history[:128], questions.candidates[:128])
    got = [far.collect(second), far.collect(first)][::-1]
    np.testing.assert_array_equal(np.concatenate([g.label for g in got]), expected.label)
    np.testing.assert_array_equal(np.concatenate([g.item for g in got]), expected.item)
    assert far.info()["model_fingerprint"] == near.info()["model_fingerprint"]
    usage = far.usage()
    assert (usage.prompts, usage.engines, usage.replaced) == (128, 2, 0)
    assert usage.tokens == far.tokens > 128 * 100


def test_a_copy_in_a_task_shares_the_engines(far, near, questions):
    @ray.remote(num_cpus=0)
    def ask(judge: LLMJudge, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return judge.answer(history, candidates).label

    label = ray.get(ask.remote(far, questions.history[:20], questions.candidates[:20]))
    np.testing.assert_array_equal(label, near.answer(questions.history[:20], questions.candidates[:20]).label)


@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_an_engine_that_dies_or_hangs_is_replaced(far, near, questions, blow):
    replaced = far.usage().replaced
    pending = far.submit(questions.history[:300], questions.candidates[:300])
    deadline = time.monotonic() + 60
    while not far.client.wait(list(pending.requests), 0.05) and time.monotonic() < deadline:
        pass
    os.kill(engine_processes()[0].pid, blow)
    answers = far.collect(pending)
    assert answers.refused == 0
    expected = near.answer(questions.history[:300], questions.candidates[:300])
    np.testing.assert_array_equal(answers.label, expected.label)
    assert far.usage().replaced > replaced


@pytest.mark.slow
def test_a_prompt_that_kills_engines_is_refused_in_the_end(ray_here):
    @ray.remote(max_restarts=-1, num_cpus=0)
    class Poisoned:  # stands for an engine whose process a prompt kills
        def info(self) -> dict[str, str]:
            return {}

        def ask(self, prompts: list[str]) -> EngineOutput:
            if any("poison" in prompt for prompt in prompts):
                os._exit(1)
            return EngineOutput(np.zeros((len(prompts), 2), np.float32), {}, len(prompts))

    settings = JudgeSettings(retries=1, timeout=60.0)
    pool = EnginePool.__new__(EnginePool)
    pool.__setstate__({"handles": [Poisoned.remote(), Poisoned.remote()], "judge": settings, "labels": 2, "info": {}})
    good = pool.submit(["a", "b"])
    bad = pool.submit(["c", "d", "poison", "e"])
    replies = pool.result(bad)
    assert list(replies.refused) == [2]
    assert "died" in replies.refused[2]
    assert np.isfinite(replies.logprobs).all(1).tolist() == [True, True, False, True]
    assert not pool.result(good).refused
    pool.close()


class Failing:
    """An engine that raises over some prompts."""

    fingerprint = "failing"

    def ask(self, prompts: list[str]) -> EngineOutput:
        if any("broken" in prompt for prompt in prompts):
            raise RuntimeError("no such token")
        return EngineOutput(np.zeros((len(prompts), 2), np.float32), {}, len(prompts))

    def close(self) -> None:
        pass


def test_a_broken_prompt_is_refused_alone(monkeypatch):
    monkeypatch.setattr(runtime, "_in_process", True)
    monkeypatch.setattr(actor, "make_engine", lambda *_: Failing())
    pool = EnginePool(JudgeSettings(), AnswerFormat("", [" a", " b"]), "none")
    replies = pool.result(pool.submit([*"abcdefg", "broken", "h", "broken"]))
    assert replies.refused == {7: "no such token", 9: "no such token"}
    assert np.isfinite(replies.logprobs).all(1).sum() == 8


def test_mistakes_are_found_before_an_actor_starts(sample, catalogue):
    with pytest.raises(InputError, match="no such folder"):
        start_judge(sample.judge, catalogue, "./no/such/model")


@pytest.mark.slow
def test_vllm_in_actors(ray_here, sample, catalogue, near, questions):
    pytest.importorskip("vllm")
    judge = start_judge(dataclasses.replace(sample.judge, engine="vllm", replicas=2), catalogue, "tiny")
    far, here = (j.answer(questions.history[:128], questions.candidates[:128]) for j in (judge, near))
    judge.close()
    np.testing.assert_array_equal(far.label, here.label)
