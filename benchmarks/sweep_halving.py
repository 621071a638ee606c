"""What does successive halving spare of a sweep, and what does its winner lose?

    python benchmarks/sweep_halving.py tune_experiments/exploration/study.yaml [--out DIR, options of ialp sweep]

Runs the sweep without stopping and with `--stop asha` (stages before online training are copied), and compares the
environment steps, and the winners by the table of the first, where every trial ran to its end. Exit code 1 if halving
took more than half of the steps, or if its winner is below the interval of the first one's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
from sweep_kills import finish, start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("study")
    parser.add_argument("--out", type=Path, help="Folder to keep; sweeps that are there already are not run again.")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="sweep") as temporary:
        folder = (arguments.out or Path(temporary)).resolve()
        whole, halved = folder / "whole", folder / "halved"
        finish(start(arguments.study, whole, [*options, "--no-final"]))
        if not halved.exists():
            shutil.copytree(whole / "shared", halved / "shared")
        finish(start(arguments.study, halved, [*options, "--stop", "asha", "--no-final"]))
        trials = pd.read_parquet(whole / "trials.parquet").set_index("trial")
        stopped = pd.read_parquet(halved / "trials.parquet")
        counts = json.loads((halved / "best.json").read_text())
    share = counts["environment_steps"] / counts["of"]
    best, chosen = trials.iloc[0], trials.loc[stopped["trial"].iloc[0]]
    print(f"trials: {len(trials)}, stopped early: {stopped['stopped'].sum()}")
    print(f"environment steps: {counts['environment_steps']:,} of {counts['of']:,} ({share:.0%})")
    print(f"winner without stopping: {best.name}: {best['mean']:.3f} [{best['low']:.3f}, {best['high']:.3f}]")
    print(f"winner of asha: {chosen.name}: {chosen['mean']:.3f} in the same table")
    sys.exit(share > 0.5 or bool(chosen["mean"] < best["low"]))


if __name__ == "__main__":
    main()
