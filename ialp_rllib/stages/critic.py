"""Part of stage ``adapt``: the critic of a policy that starts from the log (``adapt.critic``), and logged transitions.

``train_world``: it is learnt by evaluating that policy, frozen, in the train world, before anything goes online
(:mod:`ialp_rllib.agent.policy.evaluation`). ``log``: in the same way, from the sessions of the visible log
(:mod:`ialp_rllib.agent.policy.logged`). All methods of a seed that start from the same policy share it. It takes
seconds, so that one that was killed is learnt again, with the same numbers.

Transitions of the log that are only mixed into the batches (``adapt.offline_from: log``) are a part of their own.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from ialp_rllib.agent.method import Method
from ialp_rllib.agent.methods import has_critic, method
from ialp_rllib.agent.policy.evaluation import PolicyEvaluation, Rollouts, roll_out
from ialp_rllib.agent.policy.logged import logged_rollouts
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.saved import CONFIG, WEIGHTS
from ialp_rllib.agent.policy.trajectories import RETURNS
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.imitating import network_of, read_networks, save_networks
from ialp_rllib.stages.run import TRANSITIONS, RunFolder
from ialp_rllib.storage import Stage, locked, write_atomic
from ialp_rllib.users.worlds import make_world

_FILES = (WEIGHTS, CONFIG, TRANSITIONS)  # the policy with its critic, and what it was learnt from
_WAIT = 3600.0  # seconds, for another job to learn it


def critic_folder(root: Path, start: str, seed: int) -> Path:
    """Where the policy of stage ``start`` is with its critic, in a run's folder."""
    return root / "adapt" / f"critic-{start}" / f"seed-{seed}"


def critic_stage(run: RunFolder, start: str, seed: int) -> Stage:
    """The part of one start and seed."""
    settings, agent = run.settings, run.settings.agent
    learns = [agent.gamma, agent.critic_lr, agent.gradient_clip, agent.block_items, agent.history, agent.feedback]
    before = [run.fingerprints[start], run.fingerprints.of_world("train")]
    source = [settings.adapt.critic, settings.adapt.critic_steps, RETURNS]
    print_ = fingerprint("critic", start, seed, before, learns, source)
    return Stage(critic_folder(run.root, start, seed), f"adapt critic-{start}", print_, _FILES)


def log_folder(root: Path, seed: int) -> Path:
    """Where the transitions of the log are that are mixed in, in a run's folder."""
    return root / "adapt" / "log" / f"seed-{seed}"


def log_stage(run: RunFolder, seed: int) -> Stage:
    """The part of one seed."""
    agent, before = run.settings.agent, [run.fingerprints["prepare"], run.fingerprints.of_world("train")]
    seen = [agent.history, agent.feedback, agent.mask_recent, agent.gamma, run.settings.adapt.critic_steps]
    return Stage(log_folder(run.root, seed), "adapt log", fingerprint("log", seed, before, seen), (TRANSITIONS,))


def offline_file(root: Path, settings: Settings, spec: Method, seed: int) -> str:
    """The file of the transitions that a method mixes into its batches; empty: those of its rollouts."""
    critic, adapt = has_critic(settings, spec), settings.adapt
    wants_log = adapt.offline_from == "log" and "adapt.offline_from" in spec.settings
    if critic and adapt.critic == ("log" if wants_log else "train_world"):
        return str(critic_folder(root, spec.start, seed) / TRANSITIONS)
    return str(log_folder(root, seed) / TRANSITIONS) if wants_log and adapt.offline_share else ""


def require_critic(run: RunFolder, name: str, seed: int) -> None:
    """Learn the critic that a method goes online with, and write the transitions of the log that it mixes in.

    What is there, or what the method has not, is left out.
    """
    spec, made = method(name), list[tuple[Stage, str]]()
    if has_critic(run.settings, spec):
        made.append((critic_stage(run, spec.start, seed), spec.start))
    if offline_file(run.root, run.settings, spec, seed).startswith(str(log_folder(run.root, seed))):
        made.append((log_stage(run, seed), ""))
    for stage, start in made:
        with locked(stage.folder, seconds=_WAIT):
            if not stage.up_to_date():
                began = time.perf_counter()
                folder = stage.open()
                facts = _learn(run, folder, start, seed) if start else _write_log(run, folder, seed)
                stage.finish(facts, time.perf_counter() - began)


def _write_log(run: RunFolder, folder: Path, seed: int) -> dict[str, Any]:
    rollouts, gamma = _rollouts_of_log(run, network_of(run.settings, run.catalogue), seed), run.settings.agent.gamma
    after = np.full(len(rollouts.ends), rollouts.mean_value(gamma))
    _write(folder, rollouts, rollouts.returns(after, gamma))
    return {"seed": seed, "rows": len(rollouts.ends)}


def _rollouts_of_log(run: RunFolder, network: NetworkConfig, seed: int) -> Rollouts:
    world, steps = make_world(run.catalogue, run.settings.users, "train", run.root / "users"), run.settings.adapt
    return logged_rollouts(run.catalogue, network, world.reward, world.memory, steps.critic_steps, seed)


def _write(folder: Path, rollouts: Rollouts, returns: np.ndarray) -> None:
    kept = {name: values for name, values in rollouts.columns.items() if name != "truncateds"} | {RETURNS: returns}
    write_atomic(folder / TRANSITIONS, partial(save_file, kept))


def _learn(run: RunFolder, folder: Path, start: str, seed: int) -> dict[str, Any]:
    settings, cpu = run.settings, time.process_time()
    torch.set_num_threads(settings.runtime.threads)
    network = network_of(settings, run.catalogue)
    net = read_networks(run.root / start / f"seed-{seed}", network)
    if settings.adapt.critic == "log":
        rollouts = _rollouts_of_log(run, network, seed)
    else:
        world = make_world(run.catalogue, settings.users, "train", run.root / "users")
        rollouts = roll_out(net, world, settings.adapt.critic_steps, seed)
    evaluation = PolicyEvaluation(net, rollouts, settings.agent, seed)
    facts = evaluation.fit()
    _write(folder, rollouts, evaluation.returns)
    save_networks(folder, evaluation.result(), network, run.catalogue, start)
    return {"start": start, "seed": seed, **facts, "cpu_seconds": time.process_time() - cpu}
