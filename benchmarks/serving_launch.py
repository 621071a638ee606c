"""Simulated launches: does a served policy gain on users whose tastes have moved, and does the guard hold bad versions?

    python benchmarks/serving_launch.py RUN --steps 200000            # theta alone, and ap under the guard
    python benchmarks/serving_launch.py RUN --steps 16000 --loop --set guard.canary=0.9 --set guard.sessions=30 \\
        --set guard.margin=1 --set guard.rise=100 --set publish_updates=8    # every version goes out: as `ialp run`
    python benchmarks/serving_launch.py RUN --poison 50               # poisoned versions, each in a launch of its own

RUN is a finished run with the method aialp_ap. The service runs in this process, without HTTP and without syncing the
log: everything else is the code that serves: policy, log, join, replay, learner, versions, guard. Time is simulated: a
step of all users takes ``--step-seconds``. A fifth of the feedback comes late and in another order, 1% never, 3% twice.

The launch prints the mean return of the sessions that ended in each twentieth of the steps, by arm. ``run's loop`` is
the same number of steps and updates of `ialp run` (RLlib's algorithm, the same users), for comparison.

``--poison`` promotes a good version, then tries a poisoned one (NaN, collapsed on one item per state, worse by a
fifth, in turns), and counts the sessions until it is rolled back. Exit code 1 if one is promoted or stays.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ialp_rllib.serving.artifact import Artifact
from ialp_rllib.serving.export import export_run
from ialp_rllib.serving.folder import create_service
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.serving.service import Service
from ialp_rllib.serving.simulate import Traffic, read_world
from ialp_rllib.serving.versions import Current
from ialp_rllib.settings.serving import ServingSettings

POISONS = ("not finite", "collapsed", "worse")
SERVED = ("canary", "promoted")  # arms that the learning policy acts in


class Launch:
    """A service, its learner and its users in this process, on a simulated clock."""

    def __init__(self, root: Path, artifact: Artifact, run: Path, sets: Sequence[str], step_seconds: float) -> None:
        self.now, self._step_seconds = 1.7e9, step_seconds
        self.folder = create_service(
            root, artifact, ["checkpoint_seconds=1000000", "poll=3600", "guard.deadline=3600", *sets]
        )
        settings: ServingSettings = self.folder.settings
        self.service = Service(self.folder, seed=settings.seed, sync=False, clock=lambda: self.now)
        self.learner = ServiceLearner(self.folder, lambda: self.now)
        world, _, catalogue = read_world(run, settings.traffic)
        levels = artifact.network.feedback
        self.traffic = Traffic(world, artifact.item_ids, catalogue.user_ids.tolist(), settings.traffic, levels)

    def round(self) -> None:
        """One step of all users."""
        self.traffic.round(self.service.decide, self.service.store)
        self.now += self._step_seconds
        self.learner.turn()
        self.service.watcher.refresh()


def by_arm(launch: Launch) -> dict[str, tuple[float, int]]:
    """Mean return and number of the sessions that ended, by arm, since the last call."""
    found = {}
    for point in launch.learner.history.points:
        for arm in ("control", "canary", "promoted"):
            total, count = found.get(arm, (0.0, 0))
            found[arm] = (total + point[arm][0], count + point[arm][1])
    launch.learner.history.points = []
    return {arm: (total / count if count else float("nan"), count) for arm, (total, count) in found.items()}


def play(launch: Launch, steps: int, name: str) -> list[dict[str, tuple[float, int]]]:
    """Play and print a table; returns the means of each twentieth."""
    rows, began = [], time.process_time()
    for part in range(20):
        while launch.traffic.steps < steps * (part + 1) / 20:
            launch.round()
        found = by_arm(launch)
        rows.append(found)
        current = launch.learner.versions.current()
        texts = "  ".join(f"{arm} {mean:6.2f} ({count:4d})" for arm, (mean, count) in found.items())
        alpha = launch.learner._alpha_of(current.promoted)
        print(
            f"{name:6s} {launch.traffic.steps:8d} steps  {texts}  promoted {current.promoted} alpha {alpha:.2f} "
            f"updates {launch.learner.learner.updates}  cpu {time.process_time() - began:.0f} s",
            flush=True,
        )
    return rows


def mean_of(rows: list[dict[str, tuple[float, int]]], *arms: str) -> float:
    found = [row[arm] for row in rows for arm in arms if arm in row and row[arm][1]]
    count = sum(number for _, number in found)
    return sum(mean * number for mean, number in found) / count if count else float("nan")


def runs_loop(run: Path, artifact: Artifact, settings: ServingSettings, steps: int) -> float:
    """Mean return in the last fifth of the same steps in RLlib's algorithm, with the same users."""
    from ray.tune.registry import register_env

    from ialp_rllib.agent.rllib.alone import mixture_config
    from ialp_rllib.agent.trainer import build
    from ialp_rllib.runtime.starting import start_here
    from ialp_rllib.serving.artifact import BETA, THETA
    from ialp_rllib.users.env import UserVectorEnv

    start_here(num_cpus=1, log_to_driver=False)
    world, _, _ = read_world(run, settings.traffic)
    history, feedback = artifact.agent.history, artifact.agent.feedback
    register_env("launch", lambda c: UserVectorEnv(world, c["num_envs"], history, "same_step", feedback=feedback))
    weights = [str(artifact.weights(part)) for part in (THETA, BETA)]
    config = mixture_config(artifact.agent, settings.alpha, artifact.network, *weights, settings.seed)
    config.environment("launch").env_runners(num_env_runners=0)
    algorithm = build(config, settings.seed)
    last: list[float] = []
    while algorithm.env_steps < steps:
        algorithm.rounds = 1
        algorithm.train()
        if algorithm.env_steps > 0.8 * steps and algorithm.recent:
            last.append(float(np.mean([value for value, _ in algorithm.recent])))
    algorithm.stop()
    return float(np.mean(last))


def poisoned(weights: dict[str, torch.Tensor], kind: str, seed: int, noise: float) -> dict[str, torch.Tensor]:
    """Weights of a bad version."""
    bad = {name: value.clone() for name, value in weights.items()}
    generator = torch.Generator().manual_seed(seed)
    bias = bad["policy.actor.bias"]
    if kind == "not finite":
        bias[int(torch.randint(len(bias), (1,), generator=generator))] = torch.nan
    elif kind == "collapsed":
        bias[torch.randperm(len(bias), generator=generator)[: len(bias) // 15]] += 50.0
    else:  # towards random items
        bias += torch.randn(bias.shape, generator=generator) * noise
    return bad


def poison(root: Path, artifact: Artifact, run: Path, args: argparse.Namespace, number: int) -> bool:
    """One launch with a poisoned version; prints and returns whether it was refused or rolled back."""
    kind = POISONS[number % len(POISONS)]
    sets = [*args.set, "learn=false", f"traffic.seed={number + 1}", f"seed={number}"]
    launch = Launch(root, artifact, run, sets, args.step_seconds)
    versions, learner = launch.learner.versions, launch.learner
    good = learner.learner.weights()
    versions.publish(good, args.alpha, {}, launch.now)
    versions.serve(Current(1, None, 0, "good", launch.now))
    launch.service.watcher.refresh()
    while learner.ledger.counts.total() < args.before:
        launch.round()
    try:
        bad = versions.publish(poisoned(good, kind, number, args.noise), min(1.0, args.alpha * 1.5), {}, launch.now)
    except ValueError as error:
        print(f"{number:3d} {kind:10s} refused: {error}", flush=True)
        return True
    versions.serve(Current(1, bad, 0, "poisoned", launch.now))
    learner.ledger.follow(1, bad, launch.now)
    began, trial = len(launch.traffic.returns), learner.ledger.tried
    while versions.current().canary == bad and len(launch.traffic.returns) - began < args.within:
        launch.round()
    current = versions.current()
    canary, control = trial.returns(1, bad), trial.returns(0, 0)
    held, after = current.canary is None and current.promoted == 1, len(launch.traffic.returns) - began
    how = "rolled back" if held else "NOT ROLLED BACK"
    print(
        f"{number:3d} {kind:10s} {how} after {after} sessions ({canary.values} of the canary): return "
        f"{canary.mean:.1f}, pi_theta {control.mean:.1f}. {current.reason}",
        flush=True,
    )
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--moved", type=float, default=1.0, help="strength of the users' new taste, in logits")
    parser.add_argument("--set", action="append", default=[], help="settings of the service")
    parser.add_argument("--step-seconds", type=float, default=10.0)
    parser.add_argument("--loop", action="store_true", help="also the loop of `ialp run`")
    parser.add_argument("--poison", type=int, default=0, help="number of launches with a poisoned version")
    parser.add_argument("--alpha", type=float, default=0.5, help="of the good version before the poisoned one")
    parser.add_argument("--noise", type=float, default=12.0, help="of the item biases of a version that is worse")
    parser.add_argument("--before", type=int, default=2000, help="ended sessions before the poisoned version")
    parser.add_argument("--within", type=int, default=2000, help="sessions after which it must be gone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.set = [f"traffic.moved={args.moved}", *args.set]
    with tempfile.TemporaryDirectory() as folder:
        root, run = Path(folder), args.run.resolve()
        artifact = export_run(run, root / "policy", beta="run" if args.poison else "theta")
        if args.poison:
            held = [poison(root / f"service-{n}", artifact, run, args, n) for n in range(args.poison)]
            print(f"{sum(held)} of {len(held)} poisoned versions refused or rolled back")
            return 0 if all(held) else 1
        alone = Launch(root / "theta", artifact, run, [*args.set, "learn=false"], args.step_seconds)
        theta = mean_of(play(alone, args.steps, "theta")[-4:], *SERVED)
        learning = Launch(root / "ap", artifact, run, args.set, args.step_seconds)
        rows = play(learning, args.steps, "ap")
        first, last = rows[:4], rows[-4:]
        ap, control = mean_of(last, *SERVED), [mean_of(part, "control") for part in (first, last)]
        print(f"last fifth: theta alone {theta:.2f}, ap {ap:.2f}: ratio {ap / theta:.3f}")
        print(f"control arm, first and last fifth: {control[0]:.2f}, {control[1]:.2f}")
        counts = dict(learning.learner.joiner.counts)
        print(f"joined: {counts}")
        if args.loop:
            found = runs_loop(run, artifact, learning.folder.settings, args.steps)
            print(f"the loop of `ialp run`, last fifth: {found:.2f}; served {mean_of(last, *SERVED):.2f}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
