"""Trouble in a tuning run: numbers that are not finite, and memory that runs out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.memory import is_out_of_memory
from ialp_rllib.judge.engines.models import load_model
from ialp_rllib.judge.tuning import tune as tuning
from ialp_rllib.judge.tuning.tune import model_with_adapter
from ialp_rllib.report.audit.sentences import remarks
from tests.judge.tuning.small import adapter, learn, small_judge

Wrap = Callable[[Callable[[Any], None]], None]


@pytest.fixture
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Wrap:
    """Lets a test change the real model before it is tuned."""

    def wrap(change: Callable[[Any], None]) -> None:
        def changed(*arguments: Any) -> Any:
            model = model_with_adapter(*arguments)
            change(model)
            return model

        monkeypatch.setattr(tuning, "model_with_adapter", changed)

    return wrap


def at_passes(numbers: set[int], what: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    """Change the logits of these forward passes in training mode, counted from 1."""

    def change(model: Any) -> None:
        passes = 0

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            nonlocal passes
            passes += module.training
            if module.training and passes in numbers:
                output.logits = what(output.logits)
            return output

        model.register_forward_hook(hook)

    return change


def overflowing_gradient(logits: torch.Tensor) -> torch.Tensor:
    """The same values, with a gradient that is infinite."""
    logits.register_hook(lambda gradient: gradient * torch.inf)
    return logits * 1.0


@pytest.mark.parametrize("what", [lambda logits: logits * torch.nan, overflowing_gradient], ids=["loss", "gradient"])
def test_an_update_that_is_not_finite_is_skipped_and_halves_the_rate(
    what: Callable[[torch.Tensor], torch.Tensor], wrapped: Wrap, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped(at_passes({3, 6}, what))
    facts = learn(tmp_path, small_judge(interactions=40, held_out=0.2, epochs=2))
    assert facts["skipped_updates"] == [3, 6]
    assert facts["updates"] == len(facts["loss"]) == len(facts["accuracy"]) == 16 - 2
    assert all(map(math.isfinite, facts["loss"] + facts["held_out_loss"]))
    assert all(weight.isfinite().all() for weight in adapter(tmp_path).values())
    assert all(weight.isfinite().all() for weight in load_model(str(tmp_path / "merged"), "float32").parameters())
    assert facts["held_out_loss"][1] < facts["held_out_loss"][0]
    assert caplog.text.count("is skipped") == 2 and "to 1/4" in caplog.text
    [text] = [text for text in remarks({"tuning": facts}, {}) if "skipped" in text]
    assert text.startswith("Of 16 updates 2 were skipped") and "1/4 of what was set" in text


def test_a_skipped_update_undoes_the_step_before_it(wrapped: Wrap, tmp_path: Path) -> None:
    """Two updates, the second of which is not finite: the weights are those before the first."""
    judge = small_judge(interactions=8, held_out=0.0, epochs=1)
    wrapped(at_passes({2}, lambda logits: logits * torch.nan))
    facts = learn(tmp_path, judge)
    assert (facts["updates"], facts["skipped_updates"]) == (1, [2])
    assert not any(weight.any() for name, weight in adapter(tmp_path).items() if "lora_B" in name)


class Stopped(Exception):
    """Interrupts a tuning run."""


@pytest.mark.parametrize("stop", [pytest.param(3, marks=pytest.mark.slow), 4, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_with_skipped_updates_resumes_to_the_same_result(stop: int, wrapped: Wrap, tmp_path: Path) -> None:
    """The weights before the last step are in the checkpoint, too: update 4 is not finite, whenever it is made."""
    judge = small_judge(interactions=24, held_out=0.0, epochs=1, checkpoint_every=1, dropout=0.1)

    def progress(done: int, total: int) -> None:
        if done == stop:
            raise Stopped

    nan = lambda logits: logits * torch.nan  # noqa: E731
    wrapped(at_passes({4}, nan))
    whole = learn(tmp_path / "whole", judge)
    wrapped(at_passes({4}, nan))
    with pytest.raises(Stopped):
        learn(tmp_path / "cut", judge, progress)
    wrapped(at_passes({4 - (stop - 1)}, nan))  # update `stop` was made, but not saved: it is made again
    assert learn(tmp_path / "cut", judge) == whole
    assert whole["skipped_updates"] == [4]
    left, right = adapter(tmp_path / "cut"), adapter(tmp_path / "whole")
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_too_many_skipped_updates_end_the_tuning(wrapped: Wrap, tmp_path: Path) -> None:
    wrapped(at_passes(set(range(2, 99)), lambda logits: logits * torch.nan))
    with pytest.raises(InputError, match=r"diverged: loss nan.* at update 4, after 2 skipped updates") as error:
        learn(tmp_path, small_judge(interactions=40, max_skipped=2))
    assert error.value.where == "judge.tune.learning_rate"


def test_when_every_update_is_skipped_nothing_was_learnt(wrapped: Wrap, tmp_path: Path) -> None:
    wrapped(at_passes(set(range(99)), lambda logits: logits * torch.nan))
    with pytest.raises(InputError, match="of every update was not finite"):
        learn(tmp_path, small_judge(interactions=8, held_out=0.0, epochs=1))


def test_errors_that_say_that_memory_is_used_up() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def too_large(limit: int) -> Callable[[Any], None]:
    """A model whose memory holds up to ``limit`` prompts."""

    def change(model: Any) -> None:
        def hook(module: Any, inputs: Any, keywords: Any) -> None:
            if len(keywords["input_ids"]) > limit:
                torch.rand(3)  # dropout has drawn numbers before memory ran out
                raise torch.OutOfMemoryError("CUDA out of memory")

        model.register_forward_pre_hook(hook, with_kwargs=True)

    return change


def test_out_of_memory_halves_the_forward_passes(
    wrapped: Wrap, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With 16 prompts per update and memory for 5, it ends with 4, as a run with 4 forward passes of 4 prompts."""
    options = {"interactions": 40, "held_out": 0.2, "epochs": 1, "dropout": 0.1}
    expected = learn(tmp_path / "small", small_judge(batch=4, accumulate=4, **options))
    wrapped(too_large(5))
    facts = learn(tmp_path / "large", small_judge(batch=16, **options))
    assert (facts["micro_batch"], facts["batch"], expected["micro_batch"]) == (4, 16, 4)
    assert "8 instead of 16" in caplog.text and "4 instead of 8" in caplog.text
    assert {**facts, "batch": 4} == expected
    left, right = adapter(tmp_path / "large"), adapter(tmp_path / "small")
    assert all(torch.equal(left[name], right[name]) for name in left)
    [text] = [text for text in remarks({"tuning": facts}, {}) if "Memory" in text]
    assert "did not hold 16 prompts" in text and "ended with 4" in text


def test_memory_that_holds_no_prompt_is_an_error(wrapped: Wrap, tmp_path: Path) -> None:
    wrapped(too_large(0))
    with pytest.raises(InputError, match="does not hold the model and one prompt"):
        learn(tmp_path, small_judge(interactions=8))


def test_other_errors_of_the_model_are_not_taken_for_it(wrapped: Wrap, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    wrapped(lambda model: model.register_forward_pre_hook(fail))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        learn(tmp_path, small_judge(interactions=8))


def test_what_peft_refuses_names_the_setting(tmp_path: Path) -> None:
    """peft refuses to adapt the output projection of a Mamba block."""
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="peft cannot adapt MambaForCausalLM") as error:
        model_with_adapter(str(tmp_path), dataclasses.replace(small_judge(targets=("out_proj",)), dtype="float32"))
    assert error.value.where == "judge.tune.targets"
