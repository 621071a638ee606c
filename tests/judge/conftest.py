"""The sample scenario, the tiny judge, and one engine of each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ialp_rllib import settings
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder


class RuleEngine:
    """An engine with known answers: ``rule(prompt)`` is the index of the label."""

    fingerprint = "rule"

    def __init__(self, rule, labels: int = 11) -> None:
        self.rule, self.labels, self.asked = rule, labels, 0

    def ask(self, prompts: list[str]) -> EngineOutput:
        self.asked += len(prompts)
        result = np.full((len(prompts), self.labels), -20.0, np.float32)
        result[np.arange(len(prompts)), [self.rule(p) for p in prompts]] = 0.0
        return EngineOutput(result, {}, sum(len(p.split()) for p in prompts))

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def rule_engine() -> type[RuleEngine]:
    return RuleEngine


@pytest.fixture(scope="session")
def sample() -> settings.Settings:
    loaded = settings.load("sample")
    return dataclasses.replace(loaded, judge=dataclasses.replace(loaded.judge, batch=64))


@pytest.fixture(scope="session")
def catalogue(sample) -> Catalogue:
    return read_source(sample.catalogue)


@pytest.fixture(scope="session")
def builder(sample, catalogue) -> PromptBuilder:
    return PromptBuilder(catalogue, sample.judge, sample.catalogue.attributes)


@pytest.fixture(scope="session")
def examples(sample, catalogue) -> Examples:
    """1,000 examples of test users."""
    return draw_examples(catalogue, catalogue.test_users, 1000, 10, 0.1, np.random.default_rng(5))


@pytest.fixture(scope="session")
def transformers_engine(sample, builder) -> TransformersEngine:
    torch.set_num_threads(2)
    return TransformersEngine(sample.judge, builder, resolve_model("tiny"))


@pytest.fixture(scope="session")
def vllm_engine(sample, builder) -> Iterator[VllmEngine]:
    pytest.importorskip("vllm")
    engine = VllmEngine(sample.judge, builder, resolve_model("tiny"))
    yield engine
    engine.close()
