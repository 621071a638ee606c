"""Weights of LEA's augmented losses (w_h x w_aq), and the share of users that the environment learns from.

    python tune_experiments/lea_weights/sweep.py [--weights 0 0.1 0.5] [--shares 0.05 0.25] [--seeds 0] ...

The environment is learnt once, in OUT/base; the points of the grid of weights are recommenders alone, in OUT/weights.
Each share is an environment of its own, in OUT/share-S. The same command resumes a study that was killed.
OUT/study.json lists its points for analysis.py.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ialp_rllib import runtime
from ialp_rllib.cli.bars import Bars
from ialp_rllib.errors import IalpError
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.lea.recommend import part_stage, train_job
from ialp_rllib.stages.lea.rows import Row, rows_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.training import run_jobs
from ialp_rllib.storage import Stage, locked, write_json

LEARNT = ("prepare", "tokens", "environment", "augment")
ROWS = ("item_knn", "base", "leasr")


def weighted(settings: Settings, w_h: float, w_aq: float) -> Settings:
    """Settings of a point of the grid; this function defines what varies."""
    offline = replace(settings.lea.offline, augmented_ce=w_h, augmented_q=w_aq)
    return replace(settings, lea=replace(settings.lea, offline=offline))


def shared(settings: Settings, share: float) -> Settings:
    """Settings of an environment that learns from a share of the users."""
    environment = replace(settings.lea.environment, share=share)
    return replace(settings, lea=replace(settings.lea, environment=environment))


def row_of(settings: Settings, kind: str) -> Row:
    """The row of a kind."""
    return next(row for row in rows_of(settings.lea) if row.kind == kind)


def weight_stage(settings: Settings, base: Path, w_h: float, w_aq: float, seed: int) -> Stage:
    """Stage of a point, with a folder that depends only on what varies."""
    run = RunFolder(weighted(settings, w_h, w_aq), base)
    stage = part_stage(run, row_of(settings, "leasr"), seed)
    return replace(stage, folder=base.parent / "weights" / f"h-{w_h:g}-q-{w_aq:g}" / f"seed-{seed}")


def study(options: argparse.Namespace) -> None:
    """Learn the environments, then train the recommenders of all points.

    Raises:
        InputError: an invalid setting.
    """
    overrides = [*options.set, f"seeds={options.seeds}", f"lea.rows=[{', '.join(ROWS)}]"]
    overrides.append(f"runtime.local_mode={str(options.local_mode).lower()}")
    if options.data:
        overrides.append(f"catalogue.data={options.data.resolve()}")
    settings, out = load(options.scenario, overrides), options.out.resolve()
    base, points = out / "base", list[dict[str, Any]]()
    with locked(out), Bars(Console(stderr=True), plain=options.local_mode) as bars:
        run_all(RunFolder(settings, base), bars, (*LEARNT, "recommend"))
        for share in options.shares:
            folder = out / f"share-{share:g}"
            run = RunFolder(shared(settings, share), folder)
            tokens = run.stage("tokens")
            if not tokens.up_to_date():
                for name in ("prepare", "tokens"):
                    run.stage(name).copy_from(RunFolder(settings, base).stage(name))
            run_all(run, bars, (*LEARNT, "recommend"))
            points.append({"share": share, "run": folder.name})
        runtime.start(settings.runtime)
        grid = list(itertools.product(options.weights, options.weights, options.seeds))
        stages = {point: weight_stage(settings, base, *point) for point in grid}
        left = {point: stage for point, stage in stages.items() if not stage.up_to_date()}
        jobs = [
            (weighted(settings, w_h, w_aq), str(base), stage, row_of(settings, "leasr"), seed)
            for (w_h, w_aq, seed), stage in left.items()
        ]
        with bars.stage("trials"):
            shown = [(str(s.folder.relative_to(out / "weights")), s.folder) for s in left.values()]
            run_jobs(train_job, jobs, shown, bars)
    for (w_h, w_aq, seed), stage in stages.items():
        points.append({"w_h": w_h, "w_aq": w_aq, "seed": seed, "folder": str(stage.folder.relative_to(out))})
    write_json(out / "study.json", {"seeds": options.seeds, "base": "base", "points": points})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, nargs="*", default=[0.0, 0.1, 0.5], help="of both, all pairs")
    parser.add_argument("--shares", type=float, nargs="*", default=[], help="of the train users")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/lea-weights"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--local-mode", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        study(options)
    except IalpError as error:
        Console(stderr=True).print(f"[bold red]error[/] {error}", highlight=False)
        sys.exit(error.exit_code)
    finally:
        runtime.stop()


if __name__ == "__main__":
    main()
