"""Does a policy learn as much in a service as in `ialp run`, at equal steps and updates?

    python benchmarks/serving_loop.py RUN --steps 16000 --seeds 5

RUN is a finished run with the method aialp_ap, whose pre-trained policy meets users whose taste has moved. One learner
is that of the service, fed by its logs: a fifth of the feedback comes late and in another order, 1% never, 3% twice,
and every version is promoted as soon as it is published, as by `ialp promote --force`; with ``--guarded`` it is tried
first, and the guard decides. The other is RLlib's algorithm as in `ialp run`, with the same
users. Compared are the mean return of the sessions in the last half of the steps, and the true return of what was
learnt: of the mixture with the last weights and alpha, over `--truth` simulated sessions. The interval of the ratio is
by the spread between the seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
from serving_launch import Launch, version_return

from ialp_rllib.serving.artifact import BETA, THETA, Artifact
from ialp_rllib.serving.export import export_run
from ialp_rllib.serving.simulate import read_world
from ialp_rllib.serving.versions import Current
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.users.simulator import World

EVERY_VERSION = ("guard.control=0.001", "guard.rise=100", "publish_updates=1")
SOON = ("guard.canary=0.9", "guard.sessions=30", "guard.margin=1", "guard.rise=100", "publish_updates=8")


class Learnt(NamedTuple):
    """What one learner came to: mean return of the last half's sessions, true return at the end, and what it took."""

    half: float
    true: float
    steps: int
    updates: int


def promote(launch: Launch) -> None:
    """Serve to all what was published."""
    versions = launch.learner.versions
    current = versions.current()
    if current.canary is not None:
        wanted = Current(current.canary, None, current.promoted, f"version {current.canary}, by hand", launch.now)
        versions.serve(wanted, instead_of=current)
        launch.service.watcher.refresh()


def served(launch: Launch, artifact: Artifact, world: World, steps: int, truth: int, guarded: bool) -> Learnt:
    """The learner of a service, fed by its logs."""
    middle = 0
    while launch.traffic.steps < steps:
        launch.round()
        if not guarded:
            promote(launch)
        if launch.traffic.steps <= steps / 2:
            middle = len(launch.traffic.returns)
    learner = launch.learner.learner
    true = version_return(artifact, world, learner.weights(), learner.alpha, truth)
    return Learnt(float(np.mean(launch.traffic.returns[middle:])), true, learner.env_steps, learner.updates)


def in_a_run(artifact: Artifact, settings: ServingSettings, world: World, steps: int, truth: int) -> Learnt:
    """RLlib's algorithm with the same users."""
    from ray.tune.registry import register_env

    from ialp_rllib.agent.rllib.alone import mixture_config
    from ialp_rllib.agent.rllib.building import build
    from ialp_rllib.users.env import UserVectorEnv

    history, feedback = artifact.agent.history, artifact.agent.feedback
    register_env("launch", lambda c: UserVectorEnv(world, c["num_envs"], history, "same_step", feedback=feedback))
    weights = [str(artifact.weights(part)) for part in (THETA, BETA)]
    config = mixture_config(artifact.agent, settings.alpha, artifact.network, *weights, settings.seed)
    config.environment("launch").env_runners(num_env_runners=0)
    algorithm = build(config, settings.seed)
    returns: list[float] = []
    algorithm.rounds = 1
    while algorithm.env_steps < steps:
        algorithm.recent.clear()
        algorithm.train()
        if algorithm.env_steps > steps / 2:
            returns += [value for value, _ in algorithm.recent]
    alpha = algorithm.progress()["alpha"]
    assert alpha is not None, "the method is a mixture"
    true = version_return(artifact, world, algorithm.policy_weights(), float(alpha), truth)
    found = Learnt(float(np.mean(returns)), true, algorithm.env_steps, algorithm.updates)
    algorithm.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--moved", type=float, default=1.0, help="strength of the users' new taste, in logits")
    parser.add_argument("--truth", type=int, default=5000, help="simulated sessions of what was learnt")
    parser.add_argument("--guarded", action="store_true", help="try every version first, on nine in ten sessions")
    parser.add_argument("--set", action="append", default=[], help="settings of the service")
    args = parser.parse_args()
    from ialp_rllib.runtime.starting import start_here

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        root, run = Path(folder), args.run.resolve()
        artifact = export_run(run, root / "policy", beta="theta")
        versions = SOON if args.guarded else EVERY_VERSION
        start_here(num_cpus=1, log_to_driver=False)
        for seed in range(args.seeds):
            sets = [f"traffic.moved={args.moved}", f"traffic.users={artifact.agent.envs}", *versions, *args.set]
            launch = Launch(root / f"{seed}", artifact, run, [*sets, f"seed={seed}", f"traffic.seed={seed + 1}"], 10.0)
            world = read_world(run, launch.folder.settings.traffic)[0]
            if not seed:
                theta = artifact.theta().state_dict(prefix="policy.")
                print(f"pi_theta alone: {version_return(artifact, world, theta, 0.0, args.truth):.2f}", flush=True)
            pair = (
                served(launch, artifact, world, args.steps, args.truth, args.guarded),
                in_a_run(artifact, launch.folder.settings, world, args.steps, args.truth),
            )
            pairs.append(pair)
            for name, found in zip(("served", "ialp run"), pair, strict=True):
                print(
                    f"seed {seed} {name:8s} last half {found.half:6.2f}  learnt {found.true:6.2f}  "
                    f"{found.steps} steps  {found.updates} updates",
                    flush=True,
                )
    for what in ("half", "true"):
        one, two = (np.array([getattr(pair[n], what) for pair in pairs]) for n in (0, 1))
        ratio = one / two - 1
        half = (
            scipy.stats.t.ppf(0.975, len(ratio) - 1) * ratio.std(ddof=1) / np.sqrt(len(ratio)) if len(ratio) > 1 else 0
        )
        print(f"{what}: served {one.mean():.2f}, ialp run {two.mean():.2f}: {ratio.mean():+.1%} ± {half:.1%}")


if __name__ == "__main__":
    main()
