"""Which hand-over serves A-iALP_ap best? Start value x shape of alpha, all from one pre-trained policy, on Ray Tune.

    python tune_experiments/alpha_schedules/sweep.py [--starts 0.1 0.5] [--shapes linear cosine] [--seeds 0] ...

The stages before adaptation run once, into OUT/base; a trial is one run of A-iALP_ap in OUT/trials/START-SHAPE-SEED. A
sweep that was killed goes on with the same command: finished trials stand, the others continue from their checkpoints.
OUT/sweep.json names the trials of the latest sweep, for analysis.py.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from ialp_rllib import runtime
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.cli.bars import Bars
from ialp_rllib.errors import IalpError
from ialp_rllib.settings import Settings, fingerprint, load
from ialp_rllib.stages.adapt import job_stage, train_job
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import STAGES, RunFolder
from ialp_rllib.storage import Stage, read_json, write_json

BASE = ("prepare", "users", "tune", "distil", "pretrain")
METHOD = "aialp_ap"
TITLES = {**STAGES, "trials": replace(STAGES["adapt"], title="Run the trials")}


def trial_settings(settings: Settings, start: float, shape: str) -> Settings:
    """The settings of one trial: what varies is here."""
    alpha = replace(settings.adapt.alpha, start=start, shape=shape)
    return replace(settings, adapt=replace(settings.adapt, alpha=alpha, methods=(METHOD,)))


def trial_stage(settings: Settings, out: Path, start: float, shape: str, seed: int) -> Stage:
    """Where a trial leaves its curves: the same folder every time, so that it can be continued."""
    stage = job_stage(RunFolder(trial_settings(settings, start, shape), out / "base"), METHOD, seed)
    return replace(stage, folder=out / "trials" / f"{start:g}-{shape}-{seed}")


def trial(config: dict[str, Any]) -> None:
    """One trial: A-iALP_ap goes online with this schedule; every point of the curve goes to Tune."""
    settings = trial_settings(config["settings"], config["start"], config["shape"])
    out = Path(config["out"])
    stage = trial_stage(settings, out, config["start"], config["shape"], config["seed"])
    latest: dict[str, Any] = {"env_steps": 0}

    def report(point: dict[str, Any]) -> None:
        if point["return"] is not None:  # before the first episode has ended there is nothing to say
            latest.update({k: point[k] for k in ("env_steps", "return", "length", "alpha")})
            tune.report(dict(latest))

    if not stage.up_to_date():
        train_job(settings, str(out / "base"), stage, METHOD, config["seed"], report)
    tune.report({**latest, "finished": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--shapes", nargs="+", default=["linear", "cosine"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--scenario", default="sample")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/alpha-schedules"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--local-mode", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        sweep(options)
    except IalpError as error:
        Console(stderr=True).print(f"[bold red]error[/] {error}", highlight=False)
        sys.exit(error.exit_code)
    finally:
        runtime.stop()


def sweep(options: argparse.Namespace) -> None:
    """Run the stages that all trials share, then the trials."""
    overrides = [*options.set, f"seeds={options.seeds}", f"runtime.local_mode={str(options.local_mode).lower()}"]
    if options.data:
        overrides.append(f"catalogue.data={options.data.resolve()}")
    settings, out = load(options.scenario, overrides), options.out.resolve()
    if not settings.catalogue.data.startswith("package:"):  # Tune runs a trial in a working folder of its own
        data = str(Path(settings.catalogue.data).expanduser().resolve())
        settings = replace(settings, catalogue=replace(settings.catalogue, data=data))
    for start, shape in itertools.product(options.starts, options.shapes):
        # a wrong value is answered before hours are spent
        load(options.scenario, [*overrides, f"adapt.alpha.start={start}", f"adapt.alpha.shape={shape}"])
    with Bars(Console(stderr=True), TITLES, plain=options.local_mode) as bars:
        run_all(RunFolder(settings, out / "base"), bars, BASE)
        grid = list(itertools.product(options.starts, options.shapes, options.seeds))
        stages = [trial_stage(settings, out, *point) for point in grid]
        rows = [
            {
                "start": start,
                "shape": shape,
                "seed": seed,
                "folder": stage.folder.name,
                "fingerprint": stage.fingerprint,
            }
            for (start, shape, seed), stage in zip(grid, stages, strict=True)
        ]
        write_json(out / "sweep.json", rows)
        runtime.start(settings.runtime)
        space = {
            "start": tune.grid_search(options.starts),
            "shape": tune.grid_search(options.shapes),
            "seed": tune.grid_search(options.seeds),
            "settings": settings,
            "out": str(out),
        }
        # Tune restores an experiment with the trials that it had: another grid, or other settings, is another one.
        experiment = out / "tune" / fingerprint([stage.fingerprint for stage in stages])[:12]
        with bars.stage("trials"), progress(bars, stages, settings.adapt.env_steps):
            errors = runtime.fit(trial, space, experiment)
    failed = [error for error in errors if error]
    if failed:
        last = str(failed[0]).strip().splitlines()[-1]
        raise IalpError(
            f"{len(failed)} of {len(errors)} trials failed; the first one: {last}\n"
            f"  whole errors: {experiment}/*/error.txt; the same command goes on with these trials"
        )


@contextmanager
def progress(bars: Bars, stages: Sequence[Stage], steps: int) -> Iterator[None]:
    """Draw how far the trials are while Tune runs them, from the files that they leave."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            for stage in stages:
                try:
                    done = steps if stage.up_to_date() else read_json(stage.folder / PROGRESS)["done"]
                except OSError:  # not started, or it has just finished
                    continue
                bars.update(stage.folder.name, done, steps)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
