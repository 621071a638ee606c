"""Simulated launches: does a served policy gain on users whose tastes have moved, and does the guard hold bad versions?

    python benchmarks/serving_launch.py RUN --steps 200000            # theta alone, and ap under the guard
    python benchmarks/serving_launch.py RUN --poison 50               # poisoned versions, one after the other

RUN is a finished run with the method aialp_ap. The service runs in this process, without HTTP and without syncing the
log: everything else is the code that serves: policy, log, join, replay, learner, versions, guard. Time is simulated: a
step of all users takes ``--step-seconds``. A fifth of the feedback comes late and in another order, 1% never, 3% twice.

The launch prints the mean return of the sessions that ended in each twentieth of the steps, by arm.

``--poison`` promotes a good version, then tries poisoned ones (NaN, collapsed on few items, worse by a fifth, finite
weights whose logits overflow, in turns), and counts the sessions until each is rolled back. A version is judged by the
sessions that began since it was published, so that one does not see those of the others. Exit code 1 if one is
promoted or stays.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ialp_rllib.ope.simulate import true_return
from ialp_rllib.ope.targets import Ids, mixture_target
from ialp_rllib.serving.artifact import Artifact
from ialp_rllib.serving.export import export_run
from ialp_rllib.serving.folder import create_service
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.serving.policy import CANARY, load_version
from ialp_rllib.serving.service import Service
from ialp_rllib.serving.simulate import Traffic, read_world
from ialp_rllib.serving.versions import Current
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.users.simulator import World

POISONS = ("not finite", "collapsed", "worse", "overflow")
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


def poisoned(weights: dict[str, torch.Tensor], kind: str, seed: int, noise: float) -> dict[str, torch.Tensor]:
    """Weights of a bad version."""
    bad = {name: value.clone() for name, value in weights.items()}
    generator = torch.Generator().manual_seed(seed)
    bias = bad["policy.actor.bias"]
    if kind == "not finite":
        bias[int(torch.randint(len(bias), (1,), generator=generator))] = torch.nan
    elif kind == "collapsed":
        bias[torch.randperm(len(bias), generator=generator)[: len(bias) // 15]] += 50.0
    elif kind == "overflow":
        for layer in (0, 2):
            bad[f"policy.actor.hidden.{layer}.weight"] *= 1e30
    else:  # towards random items
        bias += torch.randn(bias.shape, generator=generator) * noise
    return bad


def version_return(
    artifact: Artifact,
    world: World,
    weights: Mapping[str, torch.Tensor],
    alpha: float,
    sessions: int,
    seed: int = 0,
    by: str = "step",
) -> float:
    """True mean return of a version over simulated sessions; ``by``: how its policies are mixed (``alpha.by``)."""
    beta = load_version(1, alpha, dict(weights), artifact.network).beta
    assert beta is not None
    ids = Ids(artifact.network, np.array(artifact.item_ids, object), np.array(artifact.user_ids, object))
    target, _ = mixture_target("version", ids, artifact.theta(), beta, alpha, by)
    return true_return(world, target, sessions, seed)[0]


def worse_by(
    share: float, artifact: Artifact, world: World, good: dict[str, torch.Tensor], alpha: float, seed: int, by: str
) -> tuple[float, float, float]:
    """The noise with which a version's true return is ``share`` below that of the good one, and both returns."""

    def returns(weights: dict[str, torch.Tensor]) -> float:
        return version_return(artifact, world, weights, alpha, 2000, seed, by)

    level, low, high = returns(good), 0.0, 40.0
    while True:
        noise = (low + high) / 2
        found = returns(poisoned(good, "worse", seed, noise))
        if abs(found / level - 1 + share) < 0.01 or high - low < 0.05:
            return noise, level, found
        low, high = (noise, high) if found > (1 - share) * level else (low, noise)


class Poisoning:
    """A launch with a good version that is served, in which poisoned ones are tried."""

    def __init__(self, root: Path, artifact: Artifact, run: Path, args: argparse.Namespace) -> None:
        self._args = args
        self.launch = Launch(root, artifact, run, [*args.set, "learn=false"], args.step_seconds)
        self._artifact, self._good = artifact, self.launch.learner.learner.weights()
        self._world = read_world(run, self.launch.folder.settings.traffic)[0]
        self.launch.learner.versions.publish(self._good, args.alpha, {}, self.launch.now)
        self.launch.learner.versions.serve(Current(1, None, 0, "good", self.launch.now))
        self.launch.service.watcher.refresh()
        while self.launch.learner.ledger.counts.total() < args.before:
            self.launch.round()

    def attempt(self, number: int) -> bool:
        """Try one; prints and returns whether it was refused or rolled back in time."""
        launch, args, kind = self.launch, self._args, POISONS[number % len(POISONS)]
        versions, ledger = launch.learner.versions, launch.learner.ledger
        alpha, noise, truth = min(1.0, args.alpha * 1.5), 0.0, ""
        if kind == "worse":
            by = launch.folder.settings.alpha.by
            noise, level, found = worse_by(args.worse, self._artifact, self._world, self._good, alpha, number, by)
            truth = f", truly {found:.1f} instead of {level:.1f}"
        weights = poisoned(self._good, kind, number, noise)
        try:
            bad = versions.publish(weights, alpha, {}, launch.now)
        except ValueError as error:
            print(f"{number:3d} {kind:10s} refused: {error}", flush=True)
            return True
        versions.serve(Current(1, bad, 0, "poisoned", launch.now))
        ledger.follow(1, bad, launch.now)
        launch.service.watcher.refresh()
        if problem := launch.service.watcher.refused:  # else it would be tried, and nobody would get it
            print(f"{number:3d} {kind:10s} not loaded: {problem}", flush=True)
            return self._take_back(True)
        began, trial = len(launch.traffic.returns), ledger.tried
        while versions.current().canary == bad and len(launch.traffic.returns) - began < args.within:
            launch.round()
        current, after = versions.current(), len(launch.traffic.returns) - began
        canary, now, theta = trial.returns(1, bad), trial.returns(2, 1), trial.returns(0, 0)
        held, decided = current.canary is None and current.promoted == 1, ledger.decided(CANARY, bad)
        why = "" if held else f" ({decided.count} decisions by it, fallbacks: {decided.fallbacks or 'none'})"
        print(
            f"{number:3d} {kind:10s} {'rolled back' if held else 'NOT ROLLED BACK'} after {after} sessions "
            f"({canary.values} of the canary): return {canary.mean:.1f}{truth}, the good version {now.mean:.1f}, "
            f"pi_theta {theta.mean:.1f}. {current.reason}{why}",
            flush=True,
        )
        return self._take_back(held)

    def _take_back(self, held: bool) -> bool:
        """Serve the good version alone again; returns ``held``."""
        launch, ledger = self.launch, self.launch.learner.ledger
        launch.learner.versions.serve(Current(1, None, 0, "good", launch.now))
        ledger.follow(1, None, launch.now)
        launch.service.watcher.refresh()
        ledger.forget([1])
        return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--moved", type=float, default=1.0, help="strength of the users' new taste, in logits")
    parser.add_argument("--set", action="append", default=[], help="settings of the service")
    parser.add_argument("--step-seconds", type=float, default=10.0)
    parser.add_argument("--poison", type=int, default=0, help="number of poisoned versions")
    parser.add_argument("--alpha", type=float, default=0.5, help="of the good version before the poisoned one")
    parser.add_argument("--worse", type=float, default=0.2, help="by how much a version is worse that is so")
    parser.add_argument("--before", type=int, default=2000, help="ended sessions before the first of them")
    parser.add_argument("--within", type=int, default=2000, help="sessions after which it must be gone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.set = [f"traffic.moved={args.moved}", *args.set]
    with tempfile.TemporaryDirectory() as folder:
        root, run = Path(folder), args.run.resolve()
        artifact = export_run(run, root / "policy", beta="run" if args.poison else "theta")
        if args.poison:
            trials = Poisoning(root / "service", artifact, run, args)
            held = [trials.attempt(number) for number in range(args.poison)]
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
        return 0


if __name__ == "__main__":
    sys.exit(main())
