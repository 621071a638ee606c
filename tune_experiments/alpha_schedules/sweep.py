"""Grid search over the schedule of A-iALP_ap's mixture (start value x shape of alpha) on Ray Tune.

    python tune_experiments/alpha_schedules/sweep.py [--starts 0.1 0.5] [--shapes linear cosine] [--seeds 0] ...

The stages before adaptation run once, in OUT/base; all trials start from the same pre-trained policy. A trial is one
training run of A-iALP_ap in OUT/trials/START-SHAPE-SEED. The same command resumes a sweep that was killed: finished
trials are not run again, and the others continue from their checkpoints. OUT/sweep.json lists the trials of the latest
sweep for analysis.py.
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
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage, locked, read_json, write_json

BASE = ("prepare", "users", "tune", "distil", "pretrain")
METHOD = "aialp_ap"


def trial_settings(settings: Settings, start: float, shape: str) -> Settings:
    """Settings of a trial; this function defines what varies."""
    alpha = replace(settings.adapt.alpha, start=start, shape=shape)
    return replace(settings, adapt=replace(settings.adapt, alpha=alpha, methods=(METHOD,)))


def trial_stage(settings: Settings, out: Path, start: float, shape: str, seed: int) -> Stage:
    """Stage of a trial, with a folder that depends only on what varies, so that the trial can be resumed."""
    stage = job_stage(RunFolder(trial_settings(settings, start, shape), out / "base"), METHOD, seed)
    return replace(stage, folder=out / "trials" / f"{start:g}-{shape}-{seed}")


def trial(config: dict[str, Any]) -> None:
    """Train A-iALP_ap with one schedule, and report every point of the training curve to Tune.

    Args:
        config: ``start``, ``shape``, ``seed``, ``settings`` and ``out``.
    """
    settings = trial_settings(config["settings"], config["start"], config["shape"])
    out = Path(config["out"])
    stage = trial_stage(settings, out, config["start"], config["shape"], config["seed"])
    latest: dict[str, Any] = {"env_steps": 0}

    def report(point: dict[str, Any]) -> None:
        if point["return"] is not None:  # None before the end of the first episode
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
    """Run the stages that all trials share, then the trials.

    Args:
        options: the parsed command line.

    Raises:
        InputError: an invalid setting.
        IalpError: a trial failed.
    """
    overrides = [*options.set, f"seeds={options.seeds}", f"runtime.local_mode={str(options.local_mode).lower()}"]
    if options.data:
        overrides.append(f"catalogue.data={options.data.resolve()}")
    settings, out = load(options.scenario, overrides), options.out.resolve()
    if not settings.catalogue.data.startswith("package:"):  # Tune runs each trial in another working directory
        data = str(Path(settings.catalogue.data).expanduser().resolve())
        settings = replace(settings, catalogue=replace(settings.catalogue, data=data))
    for start, shape in itertools.product(options.starts, options.shapes):
        # an invalid value fails before the shared stages run
        load(options.scenario, [*overrides, f"adapt.alpha.start={start}", f"adapt.alpha.shape={shape}"])
    with locked(out), Bars(Console(stderr=True), plain=options.local_mode) as bars:
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
        # Tune restores an experiment with its original trials: another grid, or other settings, is a new experiment.
        experiment = out / "tune" / fingerprint([stage.fingerprint for stage in stages])[:12]
        with bars.stage("trials"), progress(bars, stages, settings.adapt.env_steps):
            errors = runtime.fit(trial, space, experiment, gpus=settings.runtime.gpus_per_job)
    failed = [error for error in errors if error]
    if failed:
        last = str(failed[0]).strip().splitlines()[-1]
        raise IalpError(
            f"{len(failed)} of {len(errors)} trials failed; the first one: {last}\n"
            f"  full errors: {experiment}/*/error.txt; the same command resumes these trials"
        )


@contextmanager
def progress(bars: Bars, stages: Sequence[Stage], steps: int) -> Iterator[None]:
    """Show the progress of the trials, from their progress files, while Tune runs them.

    Args:
        bars: the display.
        stages: stages of the trials.
        steps: environment steps of a trial.
    """
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.5):
            for stage in stages:
                try:
                    done = steps if stage.up_to_date() else read_json(stage.folder / PROGRESS)["done"]
                except OSError:  # not started, or just finished
                    continue
                bars.update(stage.folder.name, done, steps)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


if __name__ == "__main__":
    main()
