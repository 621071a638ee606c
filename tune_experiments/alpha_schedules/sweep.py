"""Which hand-over serves A-iALP_ap best? Start value x shape of alpha, all from one pre-trained policy, on Ray Tune.

    python tune_experiments/alpha_schedules/sweep.py [--starts 0.1 0.5] [--shapes linear cosine] [--seeds 0] ...

The stages before adaptation run once, into OUT/base; a trial is one run of A-iALP_ap in OUT/trials/START-SHAPE-SEED. A
sweep that was killed goes on with the same command: finished trials stand, the others continue from their checkpoints.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from ialp_rllib import runtime
from ialp_rllib.errors import IalpError
from ialp_rllib.progress_bars import Bars
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages import STAGES, Run, run_all
from ialp_rllib.stages.adapt import job_stage, train_job

BASE = ("prepare", "users", "tune", "distil", "pretrain")
METHOD = "aialp_ap"


def trial_settings(settings: Settings, start: float, shape: str) -> Settings:
    """The settings of one trial: what varies is here."""
    alpha = replace(settings.adapt.alpha, start=start, shape=shape)
    return replace(settings, adapt=replace(settings.adapt, alpha=alpha, methods=(METHOD,)))


def trial_folder(out: Path, start: float, shape: str, seed: int) -> Path:
    """Where a trial leaves its curves: the same folder every time, so that it can be continued."""
    return out / "trials" / f"{start:g}-{shape}-{seed}"


def trial(config: dict[str, Any]) -> None:
    """One trial: A-iALP_ap goes online with this schedule; every point of the curve goes to Tune."""
    settings = trial_settings(config["settings"], config["start"], config["shape"])
    out = Path(config["out"])
    base = Run(settings, out / "base")
    folder = trial_folder(out, config["start"], config["shape"], config["seed"])
    stage = replace(job_stage(base, METHOD, config["seed"]), folder=folder)
    latest: dict[str, Any] = {"env_steps": 0}

    def report(point: dict[str, Any]) -> None:
        if point["return"] is not None:  # before the first episode has ended there is nothing to say
            latest.update({k: point[k] for k in ("env_steps", "return", "length", "alpha")})
            tune.report(dict(latest))

    if not stage.stands():
        train_job(settings, str(base.root), stage, METHOD, config["seed"], report)
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
    for start in options.starts:
        for shape in options.shapes:  # a wrong value is answered before hours are spent
            load(options.scenario, [*overrides, f"adapt.alpha.start={start}", f"adapt.alpha.shape={shape}"])
    with Bars(Console(stderr=True), STAGES, plain=options.local_mode) as bars:
        run_all(Run(settings, out / "base"), bars, BASE)
    runtime.start(settings.runtime)
    space = {
        "start": tune.grid_search(options.starts),
        "shape": tune.grid_search(options.shapes),
        "seed": tune.grid_search(options.seeds),
        "settings": settings,
        "out": str(out),
    }
    results = runtime.fit(trial, space, out / "tune")
    failed = [error for error in results if error]
    if failed:
        raise IalpError(f"{len(failed)} of {len(results)} trials failed; the first one: {failed[0]}")
    logging.getLogger(__name__).info("%d trials", len(results))


if __name__ == "__main__":
    main()
