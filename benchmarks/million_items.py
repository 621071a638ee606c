"""Acting and learning of A-iALP_ap at large catalogues: over all items, and on candidates (``agent.candidates``).

    python benchmarks/million_items.py [--items 100000 1000000] [--candidates 1000] [--index faiss] [--rounds 5]

Each row runs in a subprocess, on one thread: medians of the CPU milliseconds of acting for 32 users and of an update
(batch 64, d = 64, histories of 10 items, ids only), the CPU seconds of building both indexes (of the frozen policy and
of the learning one), and the peak memory of the process. Weights are random: what is measured is cost. The table is
Markdown; the last lines say how much the cost on candidates grows between the smallest and the largest catalogue.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = (100_000, 1_000_000)
USERS, BATCH = 32, 64


def measure(n_items: int, candidates: int, index: str, rounds: int) -> dict[str, float]:
    """Costs of one catalogue; ``candidates`` 0: over all items."""
    import torch

    from ialp_rllib.agent.policy.networks import NetworkConfig
    from ialp_rllib.agent.rllib.alone import LearnerAlone, mixture_config
    from ialp_rllib.settings import AgentSettings, AlphaSettings, CandidateSettings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    few = CandidateSettings(count=candidates, index=index)
    agent = AgentSettings(batch=BATCH, envs=USERS, warmup=BATCH, candidates=few)
    network = NetworkConfig.from_model_config(vars(agent), n_items)
    popularity = 1e6 / (1.0 + np.random.default_rng(0).permutation(n_items))
    config = mixture_config(agent, AlphaSettings(start=0.5, end=0.5), network, "", "")
    config.ialp(features={"popularity": popularity})
    learner = LearnerAlone(config, network)
    module, rng = learner._module, np.random.default_rng(1)
    observation = torch.from_numpy(_transitions(rng, n_items, agent.history)["obs"])
    build = _cpu(lambda: module.act(observation, "categorical"))
    acting = [_cpu(lambda: module.act(observation, "categorical")) for _ in range(rounds)]
    learner.learn(_transitions(rng, n_items, agent.history))
    updates = []
    for number in range(rounds + 1):
        columns = _transitions(rng, n_items, agent.history)
        spent = _cpu(lambda columns=columns: learner.learn(columns))
        updates += [spent] if number else []
    assert learner.updates == rounds + 1
    return {
        "act": statistics.median(acting) * 1e3,
        "update": statistics.median(updates) * 1e3,
        "build": build - statistics.median(acting) if candidates else 0.0,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _transitions(rng: np.random.Generator, n_items: int, history: int) -> dict[str, np.ndarray]:
    """One step of all users."""
    session = rng.integers(0, n_items, (USERS, history + 1)).astype(np.int32)
    user = np.zeros((USERS, 1), np.int32)
    return {
        "obs": np.concatenate([user, session[:, :-1]], 1),
        "actions": session[:, -1].astype(np.int64),
        "rewards": rng.random(USERS, np.float32),
        "new_obs": np.concatenate([user, session[:, 1:]], 1),
        "terminateds": np.zeros(USERS, bool),
        "truncateds": np.zeros(USERS, bool),
    }


def _cpu(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--index", choices=("exact", "faiss"), default="faiss")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.index, options.rounds)))
        return
    print("| items | policy over | acting, 32 users, ms CPU | update, ms CPU | build of the indexes, s CPU | peak GB |")
    print("|---:|---|---:|---:|---:|---:|")
    costs: dict[int, dict[str, float]] = {}
    for n_items in options.items:
        for candidates in (0, options.candidates):
            command = [sys.executable, __file__, "--index", options.index, "--rounds", str(options.rounds)]
            command += ["--one", str(n_items), str(candidates)]
            text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            row = json.loads(text.strip().splitlines()[-1])
            over = f"{candidates:,} candidates ({options.index})" if candidates else "all items"
            build = f"{row['build']:.1f}" if candidates else ""
            figures = f"{row['act']:.0f} | {row['update']:.0f} | {build} | {row['memory']:.1f}"
            print(f"| {n_items:,} | {over} | {figures} |", flush=True)
            if candidates:
                costs[n_items] = row
    first, last = costs[min(costs)], costs[max(costs)]
    print(f"\nGrowth on candidates from {min(costs):,} to {max(costs):,} items:", end=" ")
    print(", ".join(f"{name} {last[name] / first[name]:.2f}x" for name in ("act", "update")))


if __name__ == "__main__":
    main()
