"""Idle time of the judge in live pre-training: two alternating groups of sessions compared with one group.

Usage: ``python benchmarks/live_pretraining.py [--updates 200] [--rounds 3] [--groups 1 2] [--set judge.replicas=2]...``

The same as ``ialp pretrain`` with ``pretrain.mode=live``, with the judge in Ray actors and the training in a Ray task,
but without writing files. One judge serves all variants, which run in turn, ``--rounds`` times; medians are printed.
*busy* is the fraction of the wall time, from the first prompt of a segment to its last answer, in which the engines
compute (mean over the engines), *idle* the rest, and *waiting* the fraction in which training waits for the judge.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import torch

from ialp_rllib import runtime, settings
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.start import start_judge
from ialp_rllib.settings import Settings
from ialp_rllib.stages.pretrain import policy_config


class Segment(NamedTuple):
    """Measurements of consecutive updates: wall time, engine time and waiting time in seconds, prompts, updates."""

    seconds: float
    busy: float
    waiting: float
    prompts: int
    updates: int


def measure(algorithm: IALP, judge: LLMJudge, updates: int) -> Segment:
    """Train for some updates. ``usage`` waits for the engines, so that they are idle before and after."""
    before, progress = judge.usage(), algorithm.progress()
    start = time.perf_counter()
    algorithm.rounds = updates
    algorithm.training_step()
    after = judge.usage()
    seconds, now = time.perf_counter() - start, algorithm.progress()
    waiting = now["judge_seconds"] - progress["judge_seconds"]
    done = now["updates"] - progress["updates"]
    return Segment(seconds, after.seconds - before.seconds, waiting, after.prompts - before.prompts, done)


def race(scenario: Settings, judge: LLMJudge, groups: list[int], rounds: int, updates: int) -> dict[int, list[Segment]]:
    """Measure all variants in turn. Run as a Ray task, with the priority of a training job."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(scenario.runtime.threads)
    algorithms = make_algorithms(scenario, judge, groups)
    segments: dict[int, list[Segment]] = {count: [] for count in groups}
    for _ in range(rounds):
        for count, algorithm in algorithms.items():
            segments[count].append(measure(algorithm, judge, updates))
    for algorithm in algorithms.values():
        algorithm.stop()
    return segments


def make_algorithms(scenario: Settings, judge: LLMJudge, groups: list[int]) -> dict[int, IALP]:
    """One algorithm for each number of groups, after its warm-up."""
    catalogue, algorithms = read_source(scenario.catalogue), {}
    for count in groups:
        pretrain = dataclasses.replace(scenario.pretrain, mode="live", groups=count)
        config = policy_config(dataclasses.replace(scenario, pretrain=pretrain), catalogue, judge, Path())
        algorithms[count] = build(config, 0)
        algorithms[count].rounds = 20 + -(-scenario.agent.warmup // scenario.agent.envs)
        algorithms[count].training_step()
    return algorithms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    scenario = settings.load(options.scenario, options.set)
    runtime.start(scenario.runtime)
    model, attributes = resolve_model(options.model), scenario.catalogue.attributes
    judge = start_judge(scenario.judge, read_source(scenario.catalogue), model, attributes)
    job = (scenario, judge, options.groups, options.rounds, options.updates)
    segments: dict[int, list[Segment]] = runtime.run_jobs(race, [job])[0]
    agent, engines = scenario.agent, scenario.judge.replicas
    machine = f"{judge.info()['engine']} x {engines}, {os.cpu_count()} CPUs"
    print(f"{scenario.scenario}: {agent.envs} sessions per group, batch {agent.batch}, {machine}, "
          f"{options.rounds} rounds of {options.updates} updates")  # fmt: skip
    print(
        f"{'groups':>6} {'prompts/s':>10} {'updates/s':>10} {'busy':>7} {'idle':>7} {'waiting':>8}  idle of each round"
    )
    for count, measured in segments.items():
        rates = [[s.prompts / s.seconds, s.updates / s.seconds, s.busy / s.seconds / engines] for s in measured]
        prompts, updates, busy = (statistics.median(column) for column in zip(*rates, strict=True))
        waiting = statistics.median(s.waiting / s.seconds for s in measured)
        each = " ".join(f"{1 - s.busy / s.seconds / engines:.1%}" for s in measured)
        print(f"{count:6} {prompts:10.1f} {updates:10.2f} {busy:7.1%} {1 - busy:7.1%} {waiting:8.1%}  {each}")
    judge.close()
    runtime.stop()


if __name__ == "__main__":
    main()
