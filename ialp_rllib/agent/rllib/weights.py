"""Weights on their way from the learner to the runners, and out of the algorithm."""

from __future__ import annotations

from typing import Any

import ray
import torch
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ialp_rllib.agent.rllib.private import local_learner

_KEPT = ("policy.", "critic.", "scores")


def share(learners: LearnerGroup, runners: EnvRunnerGroup) -> bool:
    """Let a runner in the learner's process act with the learner's own tensors: nothing is left to copy after updates.

    Returns:
        Whether that was possible: the only runner and the learner are here, and on the same device.
    """
    if not learners.is_local or runners.num_remote_env_runners():
        return False
    acting = runners.local_env_runner.module
    learner = local_learner(learners)
    assert learner is not None, "is_local says that it is here"
    learning = learner.module[DEFAULT_MODULE_ID].unwrapped()
    mine, theirs = acting.state_dict(keep_vars=True), learning.state_dict(keep_vars=True)
    if any(tensor.device != theirs[name].device for name, tensor in mine.items()):
        return False
    for name, tensor in mine.items():
        tensor.data = theirs[name].data
    return True


def sync(learners: LearnerGroup, runners: EnvRunnerGroup) -> None:
    """Give the runners that sample what they need for acting."""
    if runners.num_remote_env_runners() == 0:
        runners.local_env_runner.set_state(_inference_state(learners))
    else:
        runners.sync_weights(from_worker_or_learner_group=learners, policies=[DEFAULT_MODULE_ID], inference_only=True)


def push(learners: LearnerGroup, *groups: EnvRunnerGroup | None) -> None:
    """Give every runner the learner's weights and wait: RLlib's own push after a restore is fire-and-forget."""
    state = ray.put(_inference_state(learners)) if ray.is_initialized() else _inference_state(learners)
    for group in groups:
        if group is not None:
            group.foreach_env_runner(
                lambda runner, s=state: runner.set_state(ray.get(s) if isinstance(s, ray.ObjectRef) else s),
                local_env_runner=True,
                timeout_seconds=60,
            )


def policy_weights(learners: LearnerGroup) -> dict[str, torch.Tensor]:
    """State dict of the trained :class:`.networks.ActorCritic` (of a fixed policy: its scores)."""
    state = learners.get_state(components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}")
    module = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    return {k: torch.as_tensor(v).clone() for k, v in module.items() if k.startswith(_KEPT)}


def _inference_state(learners: LearnerGroup) -> dict[str, Any]:
    """The module's inference state and its sequence number."""
    state = learners.get_state(components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True)
    return {k: v for k, v in state[COMPONENT_LEARNER].items() if k in (COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO)}
