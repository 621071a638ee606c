"""The installed Ray has every private attribute that the package uses; the message names what is missing."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.tune.registry import _global_registry

from ialp_rllib.agent.rllib import private
from ialp_rllib.agent.rllib.algorithm import IALP
from tests.agent.small import make_algorithm

pytestmark = pytest.mark.usefixtures("ray_session")

# Attributes that private.py accesses, by the object that has them.
ACCESSED = {
    "learner_group": {"_learner"},
    "learner": {"_named_optimizers", "_weights_seq_no"},
    "runner": {"_weights_seq_no"},
}
# Attributes that subclasses of RLlib's classes override or use through ``self``.
INHERITED = {
    "algorithm": {"_check_component"},
    "config": {"_model_config_auto_includes"},
    "learner": {"_device", "_optimizer_parameters", "_set_optimizer_state"},
    "module": {"_forward_exploration", "_forward_inference", "_forward_train"},
    "runner": {
        *("_device", "_increase_sampled_metrics", "_log_episode_metrics", "_needs_initial_reset", "_sample"),
        *("_try_env_reset", "_try_env_step"),
    },
}


@pytest.fixture(scope="module")
def algorithm(ray_session: None) -> Iterator[IALP]:
    algorithm = make_algorithm()
    yield algorithm
    algorithm.stop()


@pytest.fixture(scope="module")
def objects(algorithm: IALP) -> dict[str, Any]:
    learner = getattr(algorithm.learner_group, "_learner", None)
    return {
        "algorithm": algorithm,
        "config": algorithm.config,
        "learner_group": algorithm.learner_group,
        "learner": learner,
        "module": learner.module[DEFAULT_MODULE_ID].unwrapped() if learner is not None else None,
        "runner": algorithm.env_runner_group.local_env_runner,
    }


def ray_bases(instance: Any) -> list[Any]:
    """RLlib's base classes of an object, without the package's own classes."""
    return [base for base in type(instance).__mro__ if base.__module__.startswith("ray.")]


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner in ACCESSED for name in sorted(ACCESSED[owner])])
def test_accessed_attributes_exist(objects: dict[str, Any], owner: str, name: str) -> None:
    message = f"Ray {ray.__version__}: {owner} has no attribute {name}; adapt ialp_rllib/agent/rllib/private.py"
    assert hasattr(objects[owner], name), message


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner in INHERITED for name in sorted(INHERITED[owner])])
def test_inherited_attributes_exist(objects: dict[str, Any], owner: str, name: str) -> None:
    """The attribute is defined by RLlib's classes, or assigned in their code, not only by the package's subclass."""
    bases = ray_bases(objects[owner])
    defined = any(name in vars(base) for base in bases)
    assigned = any(re.search(rf"self\.{name}\b.* = ", inspect.getsource(base)) for base in bases if not defined)
    kind = type(objects[owner]).__name__
    assert defined or assigned, f"Ray {ray.__version__}: the base classes of {kind} no longer have {name}"


def test_the_lists_are_complete() -> None:
    source = inspect.getsource(private)
    accessed = set(re.findall(r"\.(_[a-z]\w*)", source)) | set(re.findall(r'getattr\(\w+, "(_\w+)"', source))
    assert accessed == set().union(*ACCESSED.values())


def test_registry_of_environments(algorithm: IALP) -> None:
    message = f"Ray {ray.__version__}: ray.tune.registry._global_registry has changed"
    assert hasattr(_global_registry, "get"), message
    assert callable(private.registered_env("small")), message


def test_functions_on_a_real_algorithm(algorithm: IALP, objects: dict[str, Any]) -> None:
    learner, runner = private.local_learner(algorithm.learner_group), objects["runner"]
    assert learner is objects["learner"] is not None
    assert isinstance(private.optimizer(learner, f"{DEFAULT_MODULE_ID}_actor"), torch.optim.Optimizer)
    before = learner._weights_seq_no
    private.count_update(learner)
    assert learner._weights_seq_no == before + 1
    assert private.weights_number(runner) >= 0
    private.forget_weights_number(runner)
    assert private.weights_number(runner) == -1
