"""Table and figure of the sweep over schedules of alpha.

    python tune_experiments/alpha_schedules/analysis.py [--out runs/alpha-schedules]

Writes ``table.csv``, ``table.md``, ``curves.png`` and ``curves.svg`` to OUT. Returns: sampled policy, test world, means
over the seeds. ``lowest`` is the lowest return of the first two epochs relative to R@0 of the same trial. Only finished
trials of the latest sweep are included.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib
import pandas as pd
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from ialp_rllib.results.schemas import read_curves, read_measurements
from ialp_rllib.storage import read_json, require_intact

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6E7781", "#000000")  # Okabe and Ito


def read(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measurements and curves of all finished trials, with columns ``start``, ``shape`` and ``seed``."""
    sweep = out / "sweep.json"
    if not sweep.is_file():
        raise SystemExit(f"{out} contains no sweep: run sweep.py --out {out} first")
    trials = read_json(sweep)
    measured, curves = [], []
    for trial in trials:
        folder = out / "trials" / trial["folder"]
        manifest = require_intact(folder)
        if manifest is None or manifest["fingerprint"] != trial["fingerprint"]:
            continue
        key = {name: trial[name] for name in ("start", "shape", "seed")}
        measured.append(read_measurements(folder / "measurements.parquet").to_pandas().assign(**key))
        curves.append(read_curves(folder / "curves.parquet").to_pandas().assign(**key))
    if not measured:
        raise SystemExit(f"{out} contains no finished trial: run sweep.py --out {out} first")
    if len(measured) < len(trials):
        print(f"{len(measured)} of {len(trials)} trials are finished: the others are left out", file=sys.stderr)
    return pd.concat(measured), pd.concat(curves)


def summarise(measured: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """One row per schedule, sorted by the return at the end: see README.md for the columns.

    Args:
        measured: measurements of all trials.
        curves: curves of all trials.
    """
    rows = []
    sampled = measured[(measured.policy == "sampled") & (measured.epoch != "")]
    for (start, shape), trial in sampled.groupby(["start", "shape"]):
        by_seed = trial.pivot(index="seed", columns="epoch", values="return")
        r = by_seed.mean()
        curve = curves[(curves.start == start) & (curves["shape"] == shape) & (curves.series == "test_sampled")]
        mean = curve.groupby("env_steps")["return"].mean()
        reached = mean[mean >= 0.9 * r["end"]].index.min()
        rows.append(
            {
                "start": start,
                "shape": shape,
                "seeds": trial.seed.nunique(),
                **{f"R@{epoch}": r[epoch] for epoch in ("0", "1", "2")},
                "R end": r["end"],
                "lowest": (by_seed[["0", "1", "2"]].min(axis=1) / by_seed["0"]).mean(),
                "env steps to 90%": int(reached),
            }
        )
    return pd.DataFrame(rows).sort_values("R end", ascending=False, ignore_index=True)


def cells(summary: pd.DataFrame) -> list[list[str]]:
    """Rows of the table as text."""
    rows = summary.itertuples(index=False)
    return [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in rows]


def markdown(summary: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = [list(summary.columns), ["---"] * summary.shape[1], *cells(summary)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(curves: pd.DataFrame, out: Path) -> None:
    """Write the figure: return over environment steps, one line per schedule, and alpha below."""
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7.5, 6), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    for index, ((start, shape), trial) in enumerate(curves.groupby(["start", "shape"])):
        colour = COLOURS[index % len(COLOURS)]
        test = trial[trial.series == "test_sampled"].groupby("env_steps")["return"].mean()
        alpha = trial[trial.series == "train"].groupby("env_steps")["alpha"].mean()
        dash = ("-", "--", "-.", ":")[index % 4]
        top.plot(
            test.index, test, color=colour, linestyle=dash, marker="o", markersize=3, label=f"{shape} from {start:g}"
        )
        bottom.plot(alpha.index, alpha, color=colour, linestyle=dash)
    top.set(ylabel="return R, test world", title="A-iALP_ap by schedule of alpha (sampled policy)")
    top.set_ylim(bottom=0)
    top.legend(frameon=False)
    bottom.set(xlabel="environment steps", ylabel="alpha", ylim=(-0.03, 1.03))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    for kind in ("png", "svg"):
        figure.savefig(out / f"curves.{kind}", dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/alpha-schedules"))
    options = parser.parse_args()
    measured, curves = read(options.out)
    summary = summarise(measured, curves)
    summary.to_csv(options.out / "table.csv", index=False)
    (options.out / "table.md").write_text(markdown(summary))
    draw(curves, options.out)
    table = Table(*summary.columns, title="A-iALP_ap by schedule of alpha (sampled policy, test world)")
    for row in cells(summary):
        table.add_row(*row)
    Console().print(table)
    print(f"figure: {options.out / 'curves.png'}")


if __name__ == "__main__":
    main()
