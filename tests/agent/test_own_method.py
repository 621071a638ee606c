"""A plugin method (``soft_q.py`` in this folder) learns, and is registered in the driver and in workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from ialp_rllib.agent.methods import METHODS, Method, load_plugins, method, register, resolve
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.run import RunFolder, needed_stages
from tests.agent.small import make_config

PLUGIN = "tests.agent.soft_q"


@pytest.fixture
def soft_q() -> Iterator[Method]:
    """Register the method for the duration of a test."""
    load_plugins([PLUGIN])
    from tests.agent import soft_q  # imported only once: later tests must register its entry again

    entry = Method("Soft Q", soft_q.SOURCE, module=soft_q.SoftQModule, objective=soft_q.soft_q)
    register("soft_q", entry)
    yield entry
    del METHODS["soft_q"]


@pytest.mark.usefixtures("ray_session")
def test_plugin_method_learns(soft_q: Method) -> None:
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
def test_plugin_is_registered_in_worker_processes() -> None:
    @ray.remote(num_cpus=0)
    def titles(settings: Settings) -> tuple[bool, str]:
        from ialp_rllib.agent.methods import METHODS, method

        before = "soft_q" in METHODS
        RunFolder(settings, Path("x"))  # every training process starts with this
        return before, method("soft_q").title

    settings = load("sample", ["adapt.methods=[soft_q]", f"adapt.plugins=[{PLUGIN}]"])
    assert ray.get(titles.remote(settings)) == (False, "Soft Q")


def test_required_stages_follow_from_the_entry(soft_q: Method) -> None:
    run = RunFolder(load("sample", ["adapt.methods=[soft_q]", f"adapt.plugins=[{PLUGIN}]"]), Path("x"))
    assert needed_stages(run.settings) == ["prepare", "users", "adapt", "report"]


def test_names_of_methods_are_unique(soft_q: Method) -> None:
    register("soft_q", soft_q)  # registering the same entry again is allowed
    with pytest.raises(ValueError, match="'soft_q' is already registered: Soft Q"):
        register("soft_q", Method("Another", "elsewhere"))
    with pytest.raises(InputError, match=r"any of .*dqn.*soft_q"):
        method("soft_r")


def test_a_method_names_the_stage_it_starts_from_and_the_worlds_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Method("From pre-training", "here", start="pretrain", worlds=("sequence",))
    assert entry.pretrained and entry.learns_from_judge and not Method("A", "b").learns_from_judge
    assert Method("A", "b", data="judge").learns_from_judge and Method("A", "b", judge_selects=True).learns_from_judge
    monkeypatch.setitem(METHODS, "mine", entry)
    needed = needed_stages(load("sample", ["adapt.methods=[mine]"]))
    assert needed == ["prepare", "users", "tune", "distil", "pretrain", "adapt", "report"]
    with pytest.raises(InputError, match="'mine' cannot be run in a rating world, only in: sequence"):
        needed_stages(load("coat", ["adapt.methods=[a2c, mine]"]))
