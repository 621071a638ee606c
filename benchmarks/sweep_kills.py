"""Does `ialp sweep`, killed at random moments and started again, end with the table and winner of an undisturbed one?

    python benchmarks/sweep_kills.py tune_experiments/alpha/study.yaml --kills 5 --out runs/sweep-kills \\
        --set adapt.env_steps=4000 --set evaluate.episodes=100

Runs the sweep, and a second one that is killed (SIGKILL to the command) when random shares of all environment steps are
done, and started again each time. Stages before online training are copied from the first. Compared, to the bit:
trials, rungs, winner, its final measurement, and the policies of all trials. With --out a sweep that is there already
is not run again. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from watched_runs import Watched, differences, results

from ialp_rllib.sweep.plan import plan_sweep
from ialp_rllib.sweep.run import steps_done

COMPARED = ("trials", "trials.parquet", "rungs.parquet", "final.parquet", "best.json")
LIMIT = 4 * 3600.0  # seconds for one command


def start(study: str, out: Path, options: list[str]) -> Watched:
    """The command."""
    command = [sys.executable, "-m", "ialp_rllib.cli", "sweep", study, "--out", str(out), *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "160"}
    return Watched(
        subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    )


def finish(run: Watched) -> float:
    """Wait for its end; its seconds."""
    if run.process.wait(LIMIT):
        time.sleep(0.2)
        raise SystemExit(f"the sweep ended with code {run.process.returncode}: {''.join(run.lines)[-3000:]}")
    return time.perf_counter() - run.began


def killed(study: str, out: Path, options: list[str], shares: list[float], done: list[str]) -> float:
    """Run and kill at these shares of all steps, ascending, and run to the end; the seconds of all commands."""
    sweep = plan_sweep(study, out, **_plan(options))
    seconds = 0.0
    for share in shares:
        run = start(study, out, options)

        def due(share: float = share) -> bool:
            steps, total = steps_done(sweep)
            return steps >= share * total

        if run.wait(due, LIMIT):
            run.kill()
            done.append(f"{share:.0%}")
        seconds += time.perf_counter() - run.began
    return seconds + finish(start(study, out, options))


def _plan(options: list[str]) -> dict[str, object]:
    """The options of the command as arguments of :func:`plan_sweep`."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--vary", action="append", default=[])
    for name in ("method", "search", "stop", "metric"):
        parser.add_argument(f"--{name}")
    for name in ("trials", "seeds"):
        parser.add_argument(f"--{name}", type=int)
    known = vars(parser.parse_known_args(options)[0])
    return {"overrides": known.pop("set"), "vary": known.pop("vary"), "changes": known}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("study")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Folder to keep; default: a temporary one.")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="sweep") as temporary:
        folder = (arguments.out or Path(temporary)).resolve()
        whole, disturbed = folder / "whole", folder / "killed"
        seconds = finish(start(arguments.study, whole, options))
        trials = pd.read_parquet(whole / "trials.parquet")
        print(f"undisturbed: {seconds:.0f} s, {len(trials)} trials, winner {trials['trial'].iloc[0]}", flush=True)
        shutil.rmtree(disturbed, ignore_errors=True)
        shutil.copytree(whole / "shared", disturbed / "shared")
        rng, moments = random.Random(arguments.seed), []
        shares = sorted(rng.uniform(0.02, 0.98) for _ in range(arguments.kills))
        seconds = killed(arguments.study, disturbed, options, shares, moments)
        wrong = differences(disturbed, results(whole, COMPARED), folders=COMPARED)
        print(f"killed {len(moments)} times, after {', '.join(moments)} of the steps: {seconds:.0f} s")
        print(f"compared {len(results(whole, COMPARED))} files: {', '.join(wrong) or 'all the same'}")
    sys.exit(bool(wrong) or len(moments) < arguments.kills)


if __name__ == "__main__":
    main()
