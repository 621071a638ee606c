"""RLlib's private attributes that this package depends on, all of them, so that a new Ray is checked in one file.

Written against Ray 2.54.1; also run with 2.55 to 2.60. ``tests/agent/rllib/test_private.py`` says when one is gone.
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
    """The learner that runs in the algorithm's own process, or None where learners are elsewhere."""
    return group._learner


def optimizer(learner: Learner, name: str) -> torch.optim.Optimizer:
    """The optimizer that was registered under this name."""
    return learner._named_optimizers[name]


def count_update(learner: Any) -> None:
    """Raise the sequence number of the learner's weights: runners load only weights of a higher number."""
    learner._weights_seq_no += 1


def weights_number(runner: EnvRunner) -> int:
    """The sequence number of the weights that a runner acts with."""
    return int(getattr(runner, "_weights_seq_no"))  # noqa: B009 (declared by none of its base classes)


def forget_weights_number(runner: Any) -> None:
    """Let a runner load the next weights, whatever their number."""
    runner._weights_seq_no = -1


def registered_env(name: str) -> Callable[[dict[str, Any]], Any]:
    """The creator that ``ray.tune.register_env`` registered under this name."""
    creator: Callable[[dict[str, Any]], Any] = _global_registry.get(ENV_CREATOR, name)
    return creator
