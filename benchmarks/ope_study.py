"""Off-policy estimates of simulated logs against true returns, and the decisions of the gate.

    python benchmarks/ope_study.py RUN --beta RUN/adapt/a2c/seed-0
    python benchmarks/ope_study.py RUN --beta RUN/adapt/a2c/seed-0 --sessions 200000 --truth 100000 \\
        --chunk 200000 --targets 0.15 0.05 --unsupported 1 popularity
    python benchmarks/ope_study.py --synthetic 4344 --sessions 20000 --targets 0.15 --no-gate

RUN: a finished run of a sequence world (`ialp run sample`). The log is a mixture, anew for each decision or by session,
of its pre-trained policy (theta) and of another one (beta), with weight `--alpha` of beta. Targets are other weights;
`popularity` shows items in proportion to their number in the log, and nothing of it is in the log's mixture.

First table: of all sessions the effective sample size, and of groups of `--group` sessions the error of each estimator.
Second: what the gate decides of each group, whether the interval of the difference holds the true one, and the bias.
Critics are fitted to `--chunk` sessions at a time, so that their groups share them. `--synthetic` N: no run, two random
policies over N items in a world without structure; what is of interest there is the time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.ope.estimators import ESTIMATORS
from ialp_rllib.ope.evaluate import PerSession, estimate, summarised
from ialp_rllib.ope.gate import HOLD, PASS, REFUSE, decide
from ialp_rllib.ope.log import Log
from ialp_rllib.ope.sessions import Sessions, sessions_of
from ialp_rllib.ope.simulate import simulate_log, true_return
from ialp_rllib.ope.targets import Acting, Ids, Target, actor_of, mixture_target
from ialp_rllib.settings import OPESettings, PatienceSettings, load
from ialp_rllib.users.leaving import PatienceRule
from ialp_rllib.users.rewards import RatingReward
from ialp_rllib.users.simulator import World
from ialp_rllib.users.worlds import make_world


class Setup(NamedTuple):
    """A world, two actors, and how often each item is in the catalogue's log."""

    world: World
    ids: Ids
    theta: Policy
    beta: Policy
    counts: np.ndarray


def from_run(run: Path, beta: Path) -> Setup:
    settings = load(str(run / "settings.yaml"), allow_plugins=True)
    catalogue = read_catalogue(run / "prepare")
    world = make_world(catalogue, settings.users, "train", run / "users")
    saved, other = load_policy(run / "pretrain" / "seed-0"), load_policy(beta)
    actors = [actor_of(policy) for policy in (saved, other)]
    assert actors[0] is not None and actors[1] is not None, "theta and beta must be actors"
    ids = Ids(saved.network, saved.item_ids, saved.user_ids)
    return Setup(world, ids, actors[0], actors[1], popularity(catalogue, settings.judge.min_rating).astype(np.float64))


def synthetic(items: int) -> Setup:
    """Random ratings of random users; sessions of about ten decisions."""
    rng, network = np.random.default_rng(0), NetworkConfig(n_items=items, history=10, mask_recent=-1)
    ratings = rng.uniform(0, 10, (20, items)).astype(np.float32)
    world = World(
        n_items=items,
        n_users=1,
        users=np.arange(20),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: PatienceRule(PatienceSettings(), 10.0, n),
        horizon=20,
        memory=10,
        shows_user=False,
        mask_recent=-1,
        reward_range=(0.0, 10.0),
    )
    torch.manual_seed(0)
    actors = [Policy(network).eval().requires_grad_(False) for _ in range(2)]
    with torch.no_grad():
        for actor in actors:
            actor.actor.bias += torch.randn(items + 1)
    names = np.array([f"i{i}" for i in range(items)], object)
    return Setup(world, Ids(network, names, np.array([], object)), *actors, np.ones(items))


def targets(setup: Setup, alphas: list[str], by: str) -> list[Target]:
    made = []
    for text in alphas:
        if text == "popularity":
            logits = np.log(np.append(np.maximum(setup.counts, 1e-3), 1e-3)).astype(np.float32)
            fixed = Acting(_Fixed(torch.from_numpy(logits)), setup.ids.network)
            made.append(Target(text, *setup.ids, [(1.0, fixed)]))
        else:
            name = f"alpha {text}"
            made.append(mixture_target(name, setup.ids, setup.theta, setup.beta, float(text), by)[0])
    return made


class _Fixed:
    """Scores and probabilities in proportion to fixed weights; masked items are taken off by the caller."""

    def __init__(self, logits: torch.Tensor) -> None:
        self._logits = logits

    def __call__(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probs = torch.softmax(self._logits, 0).repeat(len(observation), 1)
        return probs, probs


def study(setup: Setup, options: argparse.Namespace) -> None:
    settings = replace(OPESettings(), resamples=20)  # bootstrap intervals are not shown
    logging = targets(setup, [f"{options.alpha:g}"], options.by)[0]
    start = time.perf_counter()
    table = simulate_log(setup.world, logging, options.sessions, 11, options.parallel)
    sessions = sessions_of(Log(table, ("simulated",), np.zeros(1, int)))
    print(f"log: {options.by}, alpha {options.alpha:g}, {len(sessions):,} sessions, {len(table):,} decisions, ", end="")
    print(f"return {sessions.returns.mean():.3f}, {time.perf_counter() - start:.0f} s")
    logged = true_return(setup.world, logging, options.truth, 7, options.parallel)
    print(
        f"true return of the logging policy {logged[0]:.3f} ± {logged[1]:.3f} ({options.truth:,} sessions)\n",
        flush=True,
    )
    chosen = [(target, not options.no_fqe) for target in targets(setup, options.targets, options.by)]
    chosen += [(target, False) for target in targets(setup, options.unsupported, options.by)]
    for target, fqe in chosen:
        true = true_return(setup.world, target, options.truth, 7, options.parallel)
        start, parts = (time.perf_counter(), time.process_time()), []
        for first in range(0, len(sessions), options.chunk):
            kept = (np.arange(len(sessions)) >= first) & (np.arange(len(sessions)) < first + options.chunk)
            part = sessions.only(kept)
            parts.append((part, estimate(part, target, settings, fqe)))
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        report(target, parts, true, logged, settings, seconds, options)


def report(
    target: Target,
    parts: list[tuple[Sessions, PerSession]],
    true: tuple[float, float],
    logged: tuple[float, float],
    settings: OPESettings,
    seconds: tuple[float, float],
    options: argparse.Namespace,
) -> None:
    """One target: the table of estimators, and what the gate decides of each group."""
    effective = sum(found.weights.effective for _, found in parts)
    groups = []
    for sessions, found in parts:
        for first in range(0, len(sessions) - options.group + 1, options.group):
            kept = (np.arange(len(sessions)) >= first) & (np.arange(len(sessions)) < first + options.group)
            groups.append(summarised(target.name, sessions.only(kept), found.only(kept), settings))
    print(
        f"{target.name}: true {true[0]:.3f} ± {true[1]:.3f} ({true[0] / logged[0] - 1:+.1%}), ESS {effective:,.0f}, ",
        end="",
    )
    print(f"{seconds[0]:.0f} s ({seconds[1]:.0f} s of processor); {len(groups)} groups of {options.group:,}")
    error, difference = np.hypot(true[1], logged[1]), true[0] - logged[0]
    for name in [name for name in ESTIMATORS if groups and name in groups[0].level]:
        values = np.array([group.level[name].value for group in groups])
        line = f"  {name:7} mean {values.mean():7.3f}  rmse {np.sqrt(np.mean((values - true[0]) ** 2)):.3f}"
        line += f"  bias {(values.mean() - true[0]) / true[0]:+.2%}"
        line += f"  level covered {_covered(groups, name, 'level', true[0])}"
        if name in groups[0].difference:
            line += f"  difference covered {_covered(groups, name, 'difference', difference)}"
            line += f" (error {np.mean([group.difference[name].error for group in groups]):.3f})"
        print(line)
    print(f"  truth of the difference is known to ± {error:.3f}")
    if not options.no_gate:
        verdicts = [decide(group, settings.gate).decision for group in groups]
        print("  gate: " + ", ".join(f"{name} {verdicts.count(name)}" for name in (PASS, HOLD, REFUSE)), flush=True)


def _covered(groups: list, name: str, what: str, true: float) -> str:
    hits = [getattr(group, what)[name].low <= true <= getattr(group, what)[name].high for group in groups]
    return f"{np.mean(hits):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--beta", type=Path)
    parser.add_argument("--synthetic", type=int, default=0)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--by", choices=("step", "session"), default="step")
    parser.add_argument("--targets", nargs="+", default=["0.15", "0.3", "0", "1", "popularity"])
    parser.add_argument("--unsupported", nargs="*", default=[], help="further targets, without critics")
    parser.add_argument("--sessions", type=int, default=8000)
    parser.add_argument("--truth", type=int, default=20_000)
    parser.add_argument("--group", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-fqe", action="store_true")
    parser.add_argument("--no-gate", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.synthetic and not (options.run and options.beta):
        parser.error("RUN and --beta, or --synthetic")
    study(synthetic(options.synthetic) if options.synthetic else from_run(options.run, options.beta), options)


if __name__ == "__main__":
    main()
