"""A method of one's own (``soft_q.py`` beside this file) learns, and is found wherever methods are looked up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from ialp_rllib.agent.methods import METHODS, Method, load_plugins, method, register, resolve
from ialp_rllib.agent.trainer import build
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.run import RunFolder, needed_stages
from tests.agent.small import make_config

PLUGIN = "tests.agent.soft_q"


@pytest.fixture
def soft_q() -> Iterator[Method]:
    """The method, for the time of a test."""
    load_plugins([PLUGIN])
    from tests.agent import soft_q  # a later test finds the module imported already, and its entry taken away

    entry = Method("Soft Q", soft_q.SOURCE, module=soft_q.SoftQModule, objective=soft_q.soft_q)
    register("soft_q", entry)
    yield entry
    del METHODS["soft_q"]


@pytest.mark.usefixtures("ray_session")
def test_it_learns_without_a_change_to_the_algorithm(soft_q: Method) -> None:
    parts = {"module_class": resolve(soft_q.module), "objective": resolve(soft_q.objective)}
    algorithm = build(make_config(**parts, buffer_class=resolve(soft_q.buffer)), 0)
    start = algorithm.evaluate()["env_runners"]["sampled"]["return"]
    algorithm.rounds = 300
    algorithm.train()
    end = algorithm.evaluate()["env_runners"]
    algorithm.stop()
    assert start < 12  # uniform random: about 9
    assert end["sampled"]["return"] > 18
    assert end["greedy"]["return"] > 20


@pytest.mark.usefixtures("ray_session")
def test_a_worker_process_finds_it() -> None:
    @ray.remote(num_cpus=0)
    def titles(settings: Settings) -> tuple[bool, str]:
        from ialp_rllib.agent.methods import METHODS, method

        before = "soft_q" in METHODS
        RunFolder(settings, Path("x"))  # as every training process does first
        return before, method("soft_q").title

    settings = load("sample", ["adapt.methods=[soft_q]", f"adapt.plugins=[{PLUGIN}]"])
    assert ray.get(titles.remote(settings)) == (False, "Soft Q")


def test_it_needs_what_its_entry_says(soft_q: Method) -> None:
    run = RunFolder(load("sample", ["adapt.methods=[soft_q]", f"adapt.plugins=[{PLUGIN}]"]), Path("x"))
    assert needed_stages(run.settings) == ["prepare", "users", "adapt", "report"]


def test_its_name_must_be_its_own(soft_q: Method) -> None:
    register("soft_q", soft_q)  # the same once more
    with pytest.raises(ValueError, match="'soft_q' is already registered: Soft Q"):
        register("soft_q", Method("Another", "elsewhere"))
    with pytest.raises(InputError, match=r"any of .*dqn.*soft_q"):
        method("soft_r")
