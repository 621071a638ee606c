"""What the sweep over alpha's schedules shows: a table and a figure.

    python tune_experiments/alpha_schedules/analysis.py [--out runs/alpha-schedules]

Leaves ``table.csv``, ``curves.png`` and ``curves.svg`` in OUT. Returns: sampled policy, test world,
means over the seeds. "Lowest" is the lowest return of the first two epochs as a share of the trial's own R@0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import pandas as pd
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6E7781", "#000000")  # Okabe and Ito


def read(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measurements and curves of all finished trials, with their start, shape and seed."""
    measured, curves = [], []
    for folder in sorted((out / "trials").iterdir()):
        if not (folder / "manifest.json").is_file():
            continue
        start, shape, seed = folder.name.split("-")
        who = {"start": float(start), "shape": shape, "seed": int(seed)}
        measured.append(pq.read_table(folder / "measurements.parquet").to_pandas().assign(**who))
        curves.append(pq.read_table(folder / "curves.parquet").to_pandas().assign(**who))
    if not measured:
        raise SystemExit(f"{out} holds no finished trial: run sweep.py first")
    return pd.concat(measured), pd.concat(curves)


def summarise(measured: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """One row per schedule: R at each epoch, the lowest early R against R@0, and the way to 90% of the final R."""
    rows = []
    sampled = measured[(measured.policy == "sampled") & (measured.epoch != "")]
    for (start, shape), trial in sampled.groupby(["start", "shape"]):
        r = trial.groupby("epoch")["return"].mean()
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
                "lowest": min(r["0"], r["1"], r["2"]) / r["0"],
                "env steps to 90%": int(reached),
            }
        )
    return pd.DataFrame(rows).sort_values("R end", ascending=False, ignore_index=True)


def draw(curves: pd.DataFrame, out: Path) -> None:
    """Return over environment steps, one line per schedule, and the schedules below."""
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
    top.set(ylabel="return R, test world", title="A-iALP_ap by schedule of alpha")
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
    draw(curves, options.out)
    table = Table(*summary.columns, title="A-iALP_ap by schedule of alpha (sampled policy, test world)")
    for row in summary.itertuples(index=False):
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row))
    Console().print(table)
    print(f"figure: {options.out / 'curves.png'}")


if __name__ == "__main__":
    main()
