"""Accesses to private attributes of RLlib's objects, in one module, so that only one file depends on the Ray release.

Written against Ray 2.54.1; tested with 2.55 to 2.60. ``tests/agent/rllib/test_private.py`` checks that the installed
release still has every attribute, and every private method that the package's subclasses override or call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner import EnvRunner
from ray.tune.registry import ENV_CREATOR, _global_registry


def local_learner(group: LearnerGroup) -> Learner | None:
    """The learner in the algorithm's process, or None if learners are remote."""
    return group._learner


def optimizer(learner: Learner, name: str) -> torch.optim.Optimizer:
    """The optimizer registered under ``name``."""
    return learner._named_optimizers[name]


def has_optimizer(learner: Learner, name: str) -> bool:
    """Whether an optimizer is registered under ``name``."""
    return name in learner._named_optimizers


def count_update(learner: Any) -> None:
    """Increment the sequence number of the learner's weights; runners load only weights with a higher number."""
    learner._weights_seq_no += 1


def weights_number(runner: EnvRunner) -> int:
    """Sequence number of the weights that a runner has loaded."""
    return int(getattr(runner, "_weights_seq_no"))  # noqa: B009 (declared by none of its base classes)


def forget_weights_number(runner: Any) -> None:
    """Make a runner load the next weights, independent of their sequence number."""
    runner._weights_seq_no = -1


def registered_env(name: str) -> Callable[[dict[str, Any]], Any]:
    """The environment creator registered under ``name`` with ``ray.tune.register_env``."""
    creator: Callable[[dict[str, Any]], Any] = _global_registry.get(ENV_CREATOR, name)
    return creator
