"""Going online from a strong start: what the settings for it change, side by side.

    python benchmarks/strong_start.py sample [--data DIR] [--seeds 3] [--env-steps 5000] [--methods warm_ft warm_ap]
        [--settings today updates ...] [--world valid] [--out runs/strong-start] [--set key=value ...]

Printed per setting and method, means over the seeds, greedy and sampled: the return at epoch 0, 1, 2 and at the end;
the lowest on the way, in percent of epoch 0 (of each seed, then the mean; and the worst seed); the effective number of
items at epoch 0 and at the end; and the CPU seconds of a training run, with those of the critic that was learnt before
it. The policy is measured at epochs 1 and 2, then every 500 steps. The default world is the validation world: settings
are chosen in it. The stages before going online run once; the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib import runtime
from ialp_rllib.agent.methods import has_critic, method
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves, read_measurements
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.adapt import job_stage, train_job
from ialp_rllib.stages.critic import critic_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder, needed_stages
from ialp_rllib.storage import Stage

OFF = (
    "agent.updates_per_step=1",
    "agent.anchor=0",
    "adapt.critic=none",
    "adapt.rollout_steps=0",
    "adapt.offline_share=0",
)
MANY = (*OFF, "agent.updates_per_step=8")
SETTINGS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "today": OFF,  # as it was before there was any of this
    "held": (*OFF, "agent.anchor=1"),
    "released": (*OFF, "agent.anchor=1", "agent.anchor_steps=10000"),
    "updates": MANY,
    "rollouts": (*MANY, "adapt.rollout_steps=500"),
    "anchor": (*MANY, "agent.anchor=1"),
    "critic": (*MANY, "adapt.critic=train_world"),
    "critic+anchor": (*MANY, "adapt.critic=train_world", "agent.anchor=1"),
    "critic+offline": (*MANY, "adapt.critic=train_world", "adapt.offline_share=0.5"),
    "critic+anchor+offline": (*MANY, "adapt.critic=train_world", "agent.anchor=1", "adapt.offline_share=0.5"),
}
"""What is compared, by name: changes of the scenario's settings."""


def settings_of(options: argparse.Namespace, name: str) -> Settings:
    """The settings of one row."""
    epoch = 1000
    common = [
        *(f"seeds={list(range(options.seeds))}", f"adapt.methods=[{', '.join(options.methods)}]"),
        *(f"adapt.env_steps={options.env_steps}", f"evaluate.every={epoch // 2}", f"adapt.log_every={epoch // 2}"),
        *(f"evaluate.world={options.world}", f"adapt.epoch_steps={epoch}", *SETTINGS[name], *options.set),
    ]
    data = [("catalogue.data", str(options.data.resolve()))] if options.data else []
    return load(options.scenario, [*common, *data])


def train(run: RunFolder, out: Path, name: str, seed: int) -> Stage:
    """One training run, unless it is there."""
    stage = job_stage(run, name, seed)
    stage = replace(stage, folder=out / name / f"seed-{seed}")
    if not stage.up_to_date():
        train_job(run.settings, str(run.root), stage, name, seed)
    return stage


def measured(stage: Stage) -> pd.DataFrame:
    """Points of both policies by environment steps: ``series``, ``return`` and ``effective_items``."""
    points = read_curves(stage.folder / "curves.parquet").to_pandas()
    points = points[points["series"].str.startswith("test_")]
    return points.drop_duplicates(["series", "env_steps"], keep="last").sort_values("env_steps")


def row_of(run: RunFolder, stages: list[Stage], policy: str) -> dict[str, Any]:
    """One row of the table: means over the seeds of one method and policy."""
    at: dict[str, list[float]] = {epoch: [] for epoch in ("0", "1", "2", "end")}
    lowest, items = [], []
    for stage in stages:
        rows = read_measurements(stage.folder / "measurements.parquet").to_pandas()
        rows = rows[rows["policy"] == policy].set_index("epoch")
        for epoch, values in at.items():
            values.append(float(rows.loc[epoch, "return"]))
        points = measured(stage)
        returns = points[points["series"] == f"test_{policy}"]["return"]
        lowest.append(100 * (float(returns.min()) / at["0"][-1] - 1))
        items.append([float(rows.loc[epoch, "effective_items"]) for epoch in ("0", "end")])
    first, last = np.mean(items, 0)
    means = {f"R@{epoch}": float(np.mean(values)) for epoch, values in at.items()}
    return {**means, "lowest": float(np.mean(lowest)), "worst": min(lowest), "items": first, "items_end": last}


def cpu_seconds(run: RunFolder, stages: list[Stage], name: str, seeds: tuple[int, ...]) -> str:
    """CPU seconds of a training run, and of the critic before it."""
    spent = [read_curves(stage.folder / "curves.parquet").to_pandas()["cpu_seconds"].max() for stage in stages]
    text = f"{np.mean(spent):.0f}"
    if has_critic(run.settings, method(name)):
        found = [critic_stage(run, method(name).start, seed).manifest() for seed in seeds]
        text += f" + {np.mean([one['facts']['cpu_seconds'] for one in found if one]):.0f}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder of the data; none for the sample")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--env-steps", type=int, default=5000)
    parser.add_argument("--methods", nargs="+", default=["warm_ft", "warm_ap"])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--world", default="valid", choices=("valid", "test"))
    parser.add_argument("--out", type=Path, default=Path("runs/strong-start"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of `ialp run`")
    options = parser.parse_args()
    root = (options.out / Path(options.scenario).stem).resolve()
    print(f"{'setting':22} {'method':10} {'policy':8}   R@0   R@1   R@2   end | lowest  worst |    items    | CPU-s")
    for name in options.settings:
        run = RunFolder(settings_of(options, name), root / "base")
        run_all(run, Progress(), [s for s in needed_stages(run.settings) if s not in ("adapt", "report")])
        runtime.start(run.settings.runtime)
        for tested in options.methods:
            seeds = run.settings.seeds
            stages = [train(run, root / options.world / name, tested, seed) for seed in seeds]
            for policy in ("greedy", "sampled"):
                row = row_of(run, stages, policy)
                returns = " ".join(f"{row[f'R@{epoch}']:5.2f}" for epoch in ("0", "1", "2", "end"))
                spread = f"{row['lowest']:5.1f}% {row['worst']:5.1f}% | {row['items']:5.0f} {row['items_end']:5.0f}"
                cost = cpu_seconds(run, stages, tested, seeds)
                print(f"{name:22} {tested:10} {policy:8} {returns} | {spread} | {cost}", flush=True)
    runtime.stop()


if __name__ == "__main__":
    main()
