"""Item tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.judge.environment import tokens
from ialp_rllib.judge.environment.tokens import TokenLesson, initial_tokens, learn_tokens
from ialp_rllib.settings import ItemTokenSettings
from tests.judge.environment.small import small_llm

IDS = [np.random.default_rng(i).integers(2, 99, 3 + i % 3).tolist() for i in range(10)]
SETTINGS = dataclasses.replace(ItemTokenSettings(), trained=6, steps=30, learning_rate=0.3, batch=4)


def learnt(folder: Path, progress=lambda done, total: None, settings: ItemTokenSettings = SETTINGS):
    llm = small_llm().requires_grad_(False)
    return learn_tokens(llm, IDS, np.arange(10), settings, 0, folder, "p", progress)


def test_initial_vectors_are_centred_and_as_long_as_input_vectors() -> None:
    """Plain means of texts that share words are too short and all point one way."""
    llm = small_llm()
    table = llm.get_input_embeddings().weight
    with torch.no_grad():
        table[2:50] += 0.1  # as in real tables, words have something in common
    ids = [[2, 3, 4, 5, 6, item + 7] for item in range(40)]
    found = initial_tokens(llm, ids)
    assert found.shape == (40, 32)
    assert found.norm(dim=1).mean() == pytest.approx(float(table.detach().norm(dim=1).mean()), rel=1e-4)
    cosine = torch.nn.functional.normalize(found) @ torch.nn.functional.normalize(found).T
    means = torch.stack([table[torch.tensor(row)].mean(0) for row in ids])
    plain = torch.nn.functional.normalize(means) @ torch.nn.functional.normalize(means).T
    off = ~torch.eye(40, dtype=torch.bool)
    assert plain[off].mean() > 0.7 and abs(cosine[off].mean()) < 0.05


def test_a_vector_learns_its_text_and_nothing_else_changes(tmp_path: Path) -> None:
    llm = small_llm(initializer_range=0.2).requires_grad_(False)
    before = [weight.clone() for weight in llm.parameters()]
    found, facts = learn_tokens(llm, IDS, np.arange(10), SETTINGS, 0, tmp_path, "p", lambda done, total: None)
    assert facts["trained"] == facts["measured"] == 6
    assert facts["nll_end"] < facts["nll_start"] - 0.5
    assert facts["nll_other"] > facts["nll_end"] + 0.5  # the words come from the vector, not from the language
    assert all(torch.equal(a, b) for a, b in zip(before, llm.parameters(), strict=True))
    start = initial_tokens(llm, IDS)
    assert torch.equal(found[6:], start[6:]) and not torch.allclose(found[:6], start[:6], atol=1e-3)


class Stopped(Exception):
    """Interrupts the learning."""


def test_an_interrupted_call_resumes_to_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "GROUP", 3)
    settings = dataclasses.replace(SETTINGS, steps=5)
    whole, facts = learnt(tmp_path / "whole", settings=settings)

    def stop(done: int, total: int) -> None:
        assert total == 10
        if done == 8:
            raise Stopped

    with pytest.raises(Stopped):
        learnt(tmp_path / "cut", stop, settings)
    seen: list[int] = []
    resumed, again = learnt(tmp_path / "cut", lambda done, total: seen.append(done), settings)
    assert torch.equal(resumed, whole) and again == facts
    assert seen == [8, 9, 10]


def test_without_steps_the_means_are_taken(tmp_path: Path) -> None:
    found, facts = learnt(tmp_path, settings=dataclasses.replace(SETTINGS, steps=0))
    assert torch.equal(found, initial_tokens(small_llm(), IDS))
    assert facts["trained"] == 0 and facts["nll_end"] == facts["nll_start"]


def test_a_pass_that_memory_runs_out_in_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuning loop repeats it with smaller batches: learning would stop elsewhere if its loss counted twice."""
    settings = dataclasses.replace(SETTINGS, steps=3, trained=8)
    seen: list[float] = []
    mean_loss = TokenLesson.mean_loss.fget
    monkeypatch.setattr(TokenLesson, "mean_loss", property(lambda lesson: seen.append(mean_loss(lesson)) or seen[-1]))
    learnt(tmp_path / "whole", settings=settings)
    whole = seen.copy()
    summed_loss, calls = TokenLesson.summed_loss, []

    def run_out(lesson: TokenLesson, rows: np.ndarray):
        calls.append(len(rows))
        if len(calls) == 2:  # after the first part of the first pass
            raise torch.OutOfMemoryError("CUDA out of memory")
        return summed_loss(lesson, rows)

    monkeypatch.setattr(TokenLesson, "summed_loss", run_out)
    seen.clear()
    learnt(tmp_path / "cut", settings=settings)
    assert max(calls[2:6]) < calls[0] and len(whole) == 3
    assert seen == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize(("gain", "taken"), [(1e-6, 30), (5.0, 3)])
def test_learning_stops_where_the_loss_does_not_fall_any_more(tmp_path: Path, gain: float, taken: int) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=0.01, gain=gain, patience=2)
    _, facts = learnt(tmp_path, settings=settings)
    assert facts["steps"] == taken
    assert facts["nll_end"] < facts["nll_start"]
