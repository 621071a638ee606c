"""Weights on their way from the learner to the runners, and out of the algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import ray
import torch
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.retrieval import Retrieval
from ialp_rllib.agent.policy.saved import OWN
from ialp_rllib.agent.rllib.baselines import FixedModule, QModule
from ialp_rllib.agent.rllib.mixture import MixtureModule
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.agent.rllib.private import local_learner
from ialp_rllib.agent.rllib.references import ListModule

_KEPT = ("policy.", "critic.", "scores")
# How a module acts, as `config.json` of a saved policy names it, and what it needs for that beside the trained weights.
_ACTS: dict[type[ActorCriticModule], tuple[str, tuple[str, ...]]] = {
    MixtureModule: ("mixture", ("theta.", "alpha")),
    QModule: ("q", ("epsilon",)),
    ListModule: ("list", ()),
    FixedModule: ("scores", ()),
    ActorCriticModule: ("softmax", ()),
}
ACTING = ("act", "select", "acting_probs", "q_values")  # a subclass that overrides one of these acts by its own code


class Acting(NamedTuple):
    """What a saved policy needs to act as a module did.

    Attributes:
        acts: how, a key of :data:`ialp_rllib.agent.policy.acting.ACTS`, or :data:`ialp_rllib.agent.policy.saved.OWN`.
        module: class of the module, ``package.module:name``.
        network: sizes and features of its networks.
        weights: the trained weights, and of a mixture theta and alpha, of Q-learning epsilon.
        retrieval: of a policy that acts on candidates; else None.
    """

    acts: str
    module: str
    network: NetworkConfig
    weights: dict[str, torch.Tensor]
    retrieval: Retrieval | None = None


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
    if getattr(learning, "candidates", None) is not None:
        acting.candidates = learning.candidates  # with its index, which is no tensor
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
    return _module_state(learners, _KEPT)


def acting(learners: LearnerGroup) -> Acting:
    """The policy as it acts now, to be saved."""
    module_class, network, retrieval = next(iter(learners.foreach_learner(_architecture))).get()
    acts, further = acts_as(module_class)
    place = f"{module_class.__module__}:{module_class.__qualname__}"
    return Acting(acts, place, network, _module_state(learners, (*_KEPT, *further)), retrieval)


def acts_as(module_class: type) -> tuple[str, tuple[str, ...]]:
    """How a module acts, and the prefixes of what it needs for that beside the trained weights.

    A class that overrides how one of ours acts, as a plugin may, acts by code that a file cannot hold.
    """
    for ours, (acts, further) in _ACTS.items():
        if issubclass(module_class, ours):
            same = all(getattr(module_class, name, None) is getattr(ours, name, None) for name in ACTING)
            return acts if same else OWN, further
    return OWN, ()


def _architecture(learner: Any) -> tuple[type, NetworkConfig, Retrieval | None]:
    """Class and networks of a learner's module, and where its candidates are from, if it acts on some.

    Of a module without networks only what an observation holds.
    """
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    policy = getattr(module, "policy", None)
    if policy is not None:
        return type(module), policy.config, None if module.candidates is None else _retrieval(module)
    network = NetworkConfig.from_model_config(module.model_config, int(module.action_space.n))
    plain = replace(network, item_tokens=None, text_vectors=None, user_codes=None, user_sizes=[])
    return type(module), plain, None


def _retrieval(module: ActorCriticModule) -> Retrieval:
    """Where the candidates are from, without the index's vectors where they are those of the weights."""
    found = module.candidates
    assert found is not None
    policy, vectors, bias = module.policy, found.own.vectors, found.own.bias
    with torch.no_grad():
        fresh = torch.equal(bias, policy.actor.bias[:-1]) and torch.equal(vectors, policy.encoder.items()[:-1])
    source = Retrieval(found.settings, found.popularity)
    return source if fresh else source._replace(vectors=vectors.cpu().clone(), bias=bias.cpu().clone())


def _module_state(learners: LearnerGroup, prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Copies of the tensors of the learner's module whose names begin with one of ``prefixes``."""
    state = learners.get_state(components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}")
    module = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    return {k: torch.as_tensor(v).clone() for k, v in module.items() if k.startswith(prefixes)}


def _inference_state(learners: LearnerGroup) -> dict[str, Any]:
    """The module's inference state and its sequence number."""
    state = learners.get_state(components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True)
    return {k: v for k, v in state[COMPONENT_LEARNER].items() if k in (COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO)}
