"""The pool of engines in Ray actors: same answers as a single engine, also when engines crash or hang."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time

import numpy as np
import psutil
import pytest
import ray
from safetensors.torch import load_file, save_file

from ialp_rllib import runtime
from ialp_rllib.errors import InputError
from ialp_rllib.judge import actor
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.pool import EnginePool
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery, Prompt, output_width, text_of
from ialp_rllib.judge.start import start_judge
from ialp_rllib.settings import JudgeSettings, RuntimeSettings
from tests.processes import children


@pytest.fixture(scope="module")
def ray_here():
    runtime.start(RuntimeSettings(cpus=4))
    yield
    runtime.stop()


def engine_processes() -> list[psutil.Process]:
    """The processes of this test run's engine actors."""
    return children(ray._private.worker._global_node.all_processes["raylet"][0].process.pid, "EngineActor")


@pytest.fixture
def local(transformers_engine, sample, catalogue) -> LLMJudge:
    return LLMJudge(InProcessClient(transformers_engine), catalogue, sample.judge)


@pytest.fixture(scope="module")
def remote(ray_here, sample, catalogue):
    """A judge with two engines in actors."""
    settings = dataclasses.replace(sample.judge, engine="transformers", batch=16, replicas=2, timeout=600.0)
    judge = start_judge(settings, catalogue, "tiny")
    yield judge
    judge.close()


@pytest.fixture
def impatient(ray_here, sample, catalogue):
    """The same, but a request may take a minute: long enough for 16 prompts on a busy machine, too."""
    settings = dataclasses.replace(sample.judge, engine="transformers", batch=16, replicas=2, cpus=0, timeout=60.0)
    judge = start_judge(settings, catalogue, "tiny")
    yield judge
    judge.close()


def test_pool_answers_as_a_single_engine(remote, local, examples):
    first, second = (remote.submit(examples.history[n], examples.candidates[n]) for n in (slice(0, 90), slice(90, 128)))
    expected = local.answer(examples.history[:128], examples.candidates[:128])
    answers = [remote.collect(second), remote.collect(first)][::-1]
    np.testing.assert_array_equal(np.concatenate([a.label for a in answers]), expected.label)
    np.testing.assert_array_equal(np.concatenate([a.item for a in answers]), expected.item)
    assert remote.info()["model_fingerprint"] == local.info()["model_fingerprint"]
    usage = remote.usage()
    assert (usage.prompts, usage.engines, usage.replaced) == (128, 2, 0)
    assert usage.tokens == remote.tokens > 128 * 100


def test_pool_scores_packed_queries(remote, transformers_engine, sample, catalogue, examples):
    queries = LineBuilder(catalogue, sample.judge).build(examples.history[:20], examples.candidates[:20])
    requests = [remote.client.submit(queries[:12]), remote.client.submit(queries[12:])]
    scores = np.concatenate([remote.client.result(request).logprobs for request in requests])
    np.testing.assert_allclose(scores, transformers_engine.ask(queries).logprobs, atol=1e-4)


def test_pickled_judge_shares_the_engines(remote, local, examples):
    @ray.remote(num_cpus=0)
    def ask(judge: LLMJudge, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return judge.answer(history, candidates).label

    label = ray.get(ask.remote(remote, examples.history[:20], examples.candidates[:20]))
    np.testing.assert_array_equal(label, local.answer(examples.history[:20], examples.candidates[:20]).label)


@pytest.mark.parametrize(
    ("judge", "kill_signal"),
    [("remote", signal.SIGKILL), pytest.param("impatient", signal.SIGSTOP, marks=pytest.mark.slow)],
)
def test_crashed_or_hung_engine_is_replaced(judge, kill_signal, local, examples, request):
    remote = request.getfixturevalue(judge)
    replaced = remote.usage().replaced
    pending = remote.submit(examples.history[:300], examples.candidates[:300])
    deadline = time.monotonic() + 600
    while not remote.client.wait(list(pending.requests), 0.05) and time.monotonic() < deadline:
        pass
    os.kill(engine_processes()[0].pid, kill_signal)
    answers = remote.collect(pending)
    assert answers.refused == 0
    expected = local.answer(examples.history[:300], examples.candidates[:300])
    np.testing.assert_array_equal(answers.label, expected.label)
    assert remote.usage().replaced > replaced


@pytest.mark.slow
def test_prompt_that_crashes_engines_is_refused(ray_here):
    @ray.remote(max_restarts=-1, num_cpus=0)
    class CrashingActor:  # an engine whose process is killed by a prompt
        def info(self) -> dict[str, str]:
            return {}

        def ask(self, prompts: list[str]) -> EngineOutput:
            if any("poison" in prompt for prompt in prompts):
                os._exit(1)
            return EngineOutput(np.zeros((len(prompts), 2), np.float32), {}, len(prompts))

    settings = JudgeSettings(retries=1, timeout=600.0)
    pool = EnginePool.__new__(EnginePool)
    pool.__setstate__(
        {"handles": [CrashingActor.remote(), CrashingActor.remote()], "judge": settings, "labels": 2, "info": {}}
    )
    good = pool.submit(["a", "b"])
    bad = pool.submit(["c", "d", "poison", "e"])
    output = pool.result(bad)
    assert list(output.refused) == [2]
    assert "died" in output.refused[2]
    assert np.isfinite(output.logprobs).all(1).tolist() == [True, True, False, True]
    assert not pool.result(good).refused
    pool.close()


class FailingEngine:
    """An engine that raises on some prompts."""

    fingerprint = "failing"

    def ask(self, prompts: list[Prompt]) -> EngineOutput:
        if any("broken" in text_of(prompt) for prompt in prompts):
            raise RuntimeError("no such token")
        return EngineOutput(np.zeros((len(prompts), output_width(prompts, 2)), np.float32), {}, len(prompts))

    def close(self) -> None:
        pass


def test_failing_prompt_is_refused_alone(monkeypatch):
    monkeypatch.setattr(runtime.services, "_in_process", True)
    monkeypatch.setattr(actor, "make_engine", lambda *_: FailingEngine())
    pool = EnginePool(JudgeSettings(), AnswerFormat("", [" a", " b"]), "none")
    output = pool.result(pool.submit([*"abcdefg", "broken", "h", "broken"]))
    assert output.refused == {7: "no such token", 9: "no such token"}
    assert np.isfinite(output.logprobs).all(1).sum() == 8
    queries = [PackedQuery(prefix, ("x", "y", "z")) for prefix in [*"abc", "broken", "d"]]
    output = pool.result(pool.submit(queries))
    assert output.refused == {3: "no such token"} and output.logprobs.shape == (5, 6)
    assert np.isfinite(output.logprobs).all(1).tolist() == [True, True, True, False, True]


def test_what_an_engine_refuses_is_raised_as_it_is(ray_here, sample, catalogue, tmp_path):
    shutil.copytree(resolve_model("tiny"), tmp_path / "judge")
    weights = load_file(tmp_path / "judge" / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "judge" / "model.safetensors", metadata={"format": "pt"})
    judge = dataclasses.replace(sample.judge, engine="transformers", cpus=0)
    with pytest.raises(InputError, match=r"not finite, in model\.norm\.weight") as caught:
        start_judge(judge, catalogue, str(tmp_path / "judge"))
    assert "Traceback" not in str(caught.value)


def test_errors_are_raised_before_an_actor_starts(sample, catalogue):
    with pytest.raises(InputError, match="no such folder"):
        start_judge(sample.judge, catalogue, "./no/such/model")


@pytest.mark.slow
def test_vllm_in_actors(ray_here, sample, catalogue, local, examples):
    pytest.importorskip("vllm")
    judge = start_judge(dataclasses.replace(sample.judge, engine="vllm", replicas=2), catalogue, "tiny")
    in_actors, in_process = (j.answer(examples.history[:128], examples.candidates[:128]) for j in (judge, local))
    judge.close()
    np.testing.assert_array_equal(in_actors.label, in_process.label)
