"""The judge in a Ray actor answers as the one in this process."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib import runtime
from ialp_rllib.catalogue import write_catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.actor import start_judge
from ialp_rllib.judge.judge import Judge
from ialp_rllib.settings import RuntimeSettings


@pytest.fixture(scope="module")
def ray_here():
    runtime.start(RuntimeSettings(cpus=2))
    yield
    runtime.stop()


@pytest.fixture(scope="module")
def folder(catalogue, tmp_path_factory):
    place = tmp_path_factory.mktemp("catalogue")
    write_catalogue(catalogue, place)
    return place


def same_answers(engine: str, sample, folder, near: Judge, questions) -> None:
    judge = start_judge(dataclasses.replace(sample.judge, engine=engine), folder, "tiny")
    far = judge.answer(questions.history[:32], questions.candidates[:32])
    here = near.answer(questions.history[:32], questions.candidates[:32])
    np.testing.assert_array_equal(far.label, here.label)
    np.testing.assert_array_equal(far.item, here.item)
    info, expected = judge.info(), near.info()
    assert {n: v for n, v in info.items() if n != "engine"} == {n: v for n, v in expected.items() if n != "engine"}
    judge.close()


def test_transformers_in_an_actor(ray_here, sample, folder, transformers_engine, builder, questions):
    same_answers("transformers", sample, folder, Judge(transformers_engine, builder), questions)


@pytest.mark.slow
def test_vllm_in_an_actor(ray_here, sample, folder, transformers_engine, builder, questions):
    same_answers("vllm", sample, folder, Judge(transformers_engine, builder), questions)


def test_mistakes_are_found_before_an_actor_starts(sample, folder):
    with pytest.raises(InputError, match="no such folder"):
        start_judge(sample.judge, folder, "./no/such/model")
