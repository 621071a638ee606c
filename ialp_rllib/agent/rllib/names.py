"""Settings that RLlib and the agent name differently, and what RLlib's ``training()`` offers in vain."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from ialp_rllib.settings import AgentSettings, from_dict, to_dict

# Names of RLlib -> settings of the agent that say the same; the two are kept equal.
SHARED = {
    "gamma": "gamma",
    "lr": "critic_lr",
    "grad_clip": "gradient_clip",
    "train_batch_size_per_learner": "batch",
    "num_envs_per_env_runner": "envs",
}
# Arguments of RLlib's training() that this algorithm does not read -> what to use instead.
UNUSED = {
    "train_batch_size": "train_batch_size_per_learner",
    "minibatch_size": "train_batch_size_per_learner: each update takes one batch from the replay buffer",
    "num_epochs": "updates_per_step, the number of updates after each step of all environments",
    "num_sgd_iter": "updates_per_step, the number of updates after each step of all environments",
    "shuffle_batch_per_epoch": "nothing: batches are drawn at random",
    "grad_clip_by": "grad_clip, the norm of each optimizer's gradient ('global_norm')",
    "model": "settings of the agent: dim, blocks, heads, history",
    "optimizer": "lr, or actor_lr and critic_lr; the optimizer is Adam",
    "learner_connector": "a module_class and an objective",
    "add_default_connectors_to_learner_pipeline": "a module_class and an objective",
}
KEYS_OF_RLLIB = ("multiagent", "_enable_new_api_stack")  # that its dictionaries have beside its attributes
AGENT_FIELDS = tuple(field.name for field in dataclasses.fields(AgentSettings))


def searched(value: Any) -> bool:
    """Whether a value is a search space of Tune, which is resolved when a trial begins."""
    return isinstance(value, Domain) or (isinstance(value, dict) and "grid_search" in value)


def plain(value: Any) -> Any:
    """A number as Python's own type, as Tune may draw NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def is_group(value: Any) -> bool:
    """Whether a value is a group of settings."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the agent, each of its type and within its range, or an :class:`InputError`."""
    values = {name: to_dict(value) if is_group(value) else plain(value) for name, value in settings.items()}
    agent = from_dict(AgentSettings, values, "IALPConfig", "agent.")
    return {name: getattr(agent, name) for name in settings}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that it resembles, or nothing."""
    near = difflib.get_close_matches(name, [*known], 1)
    return f": did you mean {near[0]!r}?" if near else ""
