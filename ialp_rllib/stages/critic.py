"""Part of stage ``adapt``: the critic of a policy that starts from the log (``adapt.critic: train_world``).

It is learnt by evaluating that policy, frozen, in the train world, before anything goes online
(:mod:`ialp_rllib.agent.policy.evaluation`). All methods of a seed that start from the same policy share it. It takes
seconds, so that one that was killed is learnt again, with the same numbers.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file

from ialp_rllib.agent.method import Method
from ialp_rllib.agent.methods import method
from ialp_rllib.agent.policy.evaluation import PolicyEvaluation, roll_out
from ialp_rllib.agent.policy.saved import CONFIG, WEIGHTS
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.imitating import network_of, read_networks, save_networks
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage, locked, write_atomic
from ialp_rllib.users.worlds import make_world

TRANSITIONS = "transitions.safetensors"
_FILES = (WEIGHTS, CONFIG, TRANSITIONS)  # the policy with its critic, and what it was learnt from
_WAIT = 3600.0  # seconds, for another job to learn it


def has_critic(settings: Settings, spec: Method) -> bool:
    """Whether a method goes online with a critic that was learnt in the train world.

    Not if its learning policy starts from random weights: the critic belongs to the encoder of the start.
    """
    random = spec.mixture and settings.adapt.beta_init == "random"
    return settings.adapt.critic == "train_world" and "adapt.critic" in spec.settings and not random


def critic_folder(root: Path, start: str, seed: int) -> Path:
    """Where the policy of stage ``start`` is with its critic, in a run's folder."""
    return root / "adapt" / f"critic-{start}" / f"seed-{seed}"


def critic_stage(run: RunFolder, start: str, seed: int) -> Stage:
    """The part of one start and seed."""
    settings, agent = run.settings, run.settings.agent
    learns = [agent.gamma, agent.critic_lr, agent.gradient_clip, agent.block_items, agent.history, agent.feedback]
    before = [run.fingerprints[start], run.fingerprints["users"]]
    print_ = fingerprint("critic", start, seed, before, learns, settings.adapt.critic_steps)
    return Stage(critic_folder(run.root, start, seed), f"adapt critic-{start}", print_, _FILES)


def require_critic(run: RunFolder, name: str, seed: int) -> None:
    """Learn the critic that a method goes online with, unless it is there or the method has none."""
    spec = method(name)
    if not has_critic(run.settings, spec):
        return
    stage = critic_stage(run, spec.start, seed)
    with locked(stage.folder, seconds=_WAIT):
        if not stage.up_to_date():
            began = time.perf_counter()
            facts = _learn(run, stage.open(), spec.start, seed)
            stage.finish(facts, time.perf_counter() - began)


def _learn(run: RunFolder, folder: Path, start: str, seed: int) -> dict[str, Any]:
    settings, cpu = run.settings, time.process_time()
    torch.set_num_threads(settings.runtime.threads)
    network = network_of(settings, run.catalogue)
    net = read_networks(run.root / start / f"seed-{seed}", network)
    world = make_world(run.catalogue, settings.users, "train", run.root / "users")
    rollouts = roll_out(net, world, settings.adapt.critic_steps, seed)
    evaluation = PolicyEvaluation(net, rollouts, settings.agent, seed)
    facts = evaluation.fit()
    kept = {name: values for name, values in rollouts.columns.items() if name != "truncateds"}
    write_atomic(folder / TRANSITIONS, partial(save_file, kept))
    save_networks(folder, evaluation.result(), network, run.catalogue, start)
    return {"start": start, "seed": seed, **facts, "cpu_seconds": time.process_time() - cpu}
