"""Cost of an update and of a step by the size of the catalogue.

    python benchmarks/update_cost.py [--items 300 ... 1000000] [--methods a2c dqn aialp_ap] [--figure FILE.svg]

Each size runs in a subprocess, on one thread. Printed are medians over the rounds of the CPU milliseconds of an update
(batch 64, d = 64) and of a step (32 users, without learning), and the peak memory of the process. ``whole``: the update
with the catalogue in one block (``agent.block_items``) instead of blocks of 8,192 items; the result is the same.
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
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (300, 1_000, 5_000, 16_874, 100_000, 1_000_000)
METHODS = ("a2c", "dqn", "aialp_ap")
ENVS, BATCH, HISTORY = 32, 64, 21
WHOLE = 200_000  # the largest catalogue that is also measured as one block


def measure(n_items: int, methods: list[str], rounds: int) -> list[dict[str, Any]]:
    """Costs of each method for one size of the catalogue."""
    import torch

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = []
    for method in methods:
        sizes = [8192] + [n_items + 1] * (8192 < n_items <= WHOLE)
        runs = [_algorithm(n_items, method, size) for size in sizes]
        updates = [_times(lambda a=algorithm: a._update(1), rounds) for algorithm in runs]
        step = _times(lambda a=runs[0]: a._collect(), rounds)
        rows.append(
            {
                "items": n_items,
                "method": method,
                "update": statistics.median(updates[0]),
                "whole": statistics.median(updates[1]) if len(updates) > 1 else None,
                "step": statistics.median(step),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    return rows


def _times(call: Callable[[], None], rounds: int) -> list[float]:
    """CPU milliseconds of each call, after a warm-up call."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append((time.process_time() - start) * 1e3)
    return times


def _algorithm(n_items: int, name: str, block_items: int) -> Any:
    """The algorithm of one method with a filled replay buffer."""
    from ray.tune.registry import register_env

    from ialp_rllib.agent.methods import METHODS as ENTRIES
    from ialp_rllib.agent.methods import options, resolve
    from ialp_rllib.agent.rllib.building import build
    from ialp_rllib.agent.rllib.config import IALPConfig
    from ialp_rllib.settings import AgentSettings, PatienceSettings, Settings
    from ialp_rllib.users.env import UserVectorEnv, World
    from ialp_rllib.users.leaving import PatienceRule
    from ialp_rllib.users.rewards import RatingReward

    world = World(
        n_items=n_items,
        n_users=1,
        users=np.zeros(1, np.int64),
        starts=None,
        reward=RatingReward(np.random.default_rng(0).random((1, n_items), np.float32)),
        make_leaving=lambda n: PatienceRule(PatienceSettings(), 1.0, n),
        horizon=20,
        memory=20,
        shows_user=False,
        mask_recent=-1,
    )
    register_env("cost", lambda c: UserVectorEnv(world, c["num_envs"], HISTORY, "same_step"))
    agent = AgentSettings(batch=BATCH, envs=ENVS, history=HISTORY, mask_recent=-1, block_items=block_items)
    entry = ENTRIES[name]
    config = IALPConfig().environment("cost")
    config.ialp(
        agent=agent,
        module_class=resolve(entry.module),
        objective=resolve(entry.objective),
        buffer_class=resolve(entry.buffer),
        options=options(Settings(), entry),
    )
    algorithm = build(config, 0)
    while len(algorithm.replay) < agent.warmup:
        algorithm._collect()
    return algorithm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.methods, options.rounds)))
        return
    rows: list[dict[str, Any]] = []
    print(f"{'items':>10} {'method':10} {'ms/update':>10} {'whole':>8} {'ms/step':>9} {'peak MiB':>9}")
    for n_items in options.items:
        command = [sys.executable, __file__, "--one", str(n_items), "--rounds", str(options.rounds), "--methods"]
        output = subprocess.run([*command, *options.methods], stdout=subprocess.PIPE, text=True, check=True).stdout
        for row in json.loads(output.strip().splitlines()[-1]):
            rows.append(row)
            whole = f"{row['whole']:.1f}" if row["whole"] else ""
            print(
                f"{row['items']:10,} {row['method']:10} {row['update']:10.1f} {whole:>8} {row['step']:9.1f}"
                f" {row['memory']:9,.0f}",
                flush=True,
            )
    if options.figure:
        draw(rows, options.figure)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a figure of the milliseconds per update over the number of items, with logarithmic axes."""
    import matplotlib
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    from ialp_rllib.compare.page.figures import as_file
    from ialp_rllib.report.kit import svg
    from ialp_rllib.report.kit.names import method_styles

    with matplotlib.rc_context({**svg.STYLE, "axes.grid.axis": "both"}):
        figure, axes = svg.new_figure("One update on one CPU core, batch 64", "items in the catalogue", "milliseconds")
        for style in method_styles(row["method"] for row in rows).values():
            part = [row for row in rows if row["method"] == style.id]
            dash = (0, style.dash) if style.dash else "-"
            x, y = [row["items"] for row in part], [row["update"] for row in part]
            axes.plot(x, y, "o", color=style.colour, linestyle=dash, markersize=4, label=style.label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator())
            axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False)
        image = svg.to_markup(figure, "cost", "Milliseconds per update over the number of items")
        path.write_text(as_file(image), encoding="utf-8")


if __name__ == "__main__":
    main()
