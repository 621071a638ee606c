"""What a training run must keep of the algorithm (:class:`.algorithm.IALP`) to go on to the bit.

RLlib's own checkpoints (``Algorithm.save_to_path``) are pickles, which run code when they are read. They work as for
every algorithm, for those who drive it themselves; training runs of this package write these parts instead, nested data
without code (:mod:`ialp_rllib.agent.checkpoints`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ialp_rllib.agent.policy.generators import generator_states, set_generator_states
from ialp_rllib.agent.rllib import weights
from ialp_rllib.agent.rllib.runner import restore_rollouts, rollout_states

_KEPT = (COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER, WEIGHTS_SEQ_NO)  # of a learner's state


def training_state(algorithm: Any) -> dict[str, Any]:
    """The parts ``learner``, ``rollouts`` and ``replay`` of a checkpoint.

    ``learner``: weights (online, target and frozen networks, and the module's buffers), moments of the optimisers, the
    latest losses, and the process's random generators. ``rollouts``: counters, latest episodes, and each runner's
    environments, running episodes and random generators. ``replay``: the buffer; not the rows of a preference table.
    """
    state = algorithm.learner_group.get_state(not_components=f"{COMPONENT_LEARNER}/metrics_logger")[COMPONENT_LEARNER]
    own = next(iter(algorithm.learner_group.foreach_learner(learner_state))).get()
    return {
        "learner": {**{name: state[name] for name in _KEPT}, **own},
        "rollouts": {**counters(algorithm), "plays": plays(algorithm)},
        "replay": algorithm.replay.get_state(rows=not algorithm.config.preferences),  # a table is read from its files
    }


def restore_training(algorithm: Any, state: dict[str, Any]) -> None:
    """Restore :func:`training_state` in an algorithm of the same configuration."""
    learner = state["learner"]
    # RLlib loads weights only if their number increases, or if there is none.
    for names in ((COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER), (WEIGHTS_SEQ_NO,)):
        algorithm.learner_group.set_state({COMPONENT_LEARNER: {name: learner[name] for name in names}})
    weights.push(algorithm.learner_group, algorithm.env_runner_group, algorithm.eval_env_runner_group)
    set_counters(algorithm, state["rollouts"])
    algorithm.replay.set_state(state["replay"])
    if state["rollouts"]["plays"]:
        restore_rollouts(algorithm.env_runner_group, state["rollouts"]["plays"])
    # Last: what was restored so far may have drawn random numbers.
    list(algorithm.learner_group.foreach_learner(lambda one, own=learner: set_learner_state(one, own)))


def counters(algorithm: Any) -> dict[str, Any]:
    """Steps, updates, prompts, rewards, and the latest episodes."""
    return {
        "env_steps": algorithm.env_steps,
        "updates": algorithm.updates,
        "asked": (algorithm.judge_prompts, algorithm.judge_seconds),
        "reward_sum": algorithm.reward_sum,
        "recent": list(algorithm.recent),
    }


def set_counters(algorithm: Any, state: dict[str, Any]) -> None:
    """Restore :func:`counters`."""
    algorithm.env_steps, algorithm.updates = state["env_steps"], state["updates"]
    algorithm.judge_prompts, algorithm.judge_seconds = state["asked"]
    algorithm.reward_sum = state["reward_sum"]
    algorithm.recent = deque(state["recent"], maxlen=algorithm.recent.maxlen)


def plays(algorithm: Any) -> list[dict[str, Any]]:
    """Rollout states of the runners that sample; none where a table is learnt from."""
    return [] if algorithm.config.preferences else rollout_states(algorithm.env_runner_group)


def learner_state(learner: Any) -> dict[str, Any]:
    """The latest losses of a learner, and the random generators of its process."""
    metrics = {name: value.cpu() for name, value in getattr(learner, "latest_metrics", {}).items()}
    return {"latest_metrics": metrics, "generators": generator_states()}


def set_learner_state(learner: Any, state: dict[str, Any]) -> None:
    """Restore :func:`learner_state`."""
    if state["latest_metrics"]:
        learner.latest_metrics = {name: torch.as_tensor(value) for name, value in state["latest_metrics"].items()}
    set_generator_states(state["generators"])
