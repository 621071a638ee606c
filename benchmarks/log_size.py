"""How many logged users is a judge worth? Return and personal taste before any online step, over the size of the log.

    python benchmarks/log_size.py FOLDER [--figure FILE.svg]

FOLDER is the output of `ialp compare SCENARIO --vary 'judge.model=[...]' --vary 'catalogue.log_users=[0, ..., -1]'`
(docs/results/log-size.md gives the command). For every judge, the policy that learnt from it without a log is set
beside the warm start: per seed, the number of users whose logs the warm start needs for the same return, with straight
lines in the logarithm of that number between the sizes that were run. Then the differences, seed by seed (each seed is
tested on the same users): log and judge together less the log alone at each size; and, without a log, the first judge
alone less each other one, which may be a control (`tfidf`, `embedding:FOLDER`) in the same FOLDER or another one
(`--controls FOLDER`). Tables are markdown; intervals are 95% t intervals over seeds.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.compare.page.figures import as_file
from ialp_rllib.report.kit import svg
from ialp_rllib.results.statistics import contrasts, mean_interval

VARIED = re.compile(r", model=(?P<judge>.+), log_users=(?P<users>-?\d+)$")
RUN = re.compile(r"-model=(?P<judge>.+)-log_users=-?\d+(-part-\d+)?$")
NO_JUDGE = ("random", "popularity", "best_list", "warm")
TITLES = {
    "random": "random",
    "popularity": "popularity",
    "best_list": "one list for everybody (whole log)",
    "warm": "log alone (warm)",
    "ialp": "judge alone (iALP)",
    "ialp_log": "both (iALP+log)",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def read(folder: Path, everybody: int) -> pd.DataFrame:
    """Greedy results before any online step: name, judge, method, users, seed, return, items.

    Args:
        everybody: number of train users, whose logs `log_users=-1` shows.
    """
    table = pq.read_table(folder / "comparison" / "results.parquet").to_pandas()
    table = table[(table["policy"] == "greedy") & (table["epoch"] == "0")]
    parts = table["scenario"].str.extract(VARIED)
    if parts.isna().any(axis=None):
        raise SystemExit(f"{folder}: not a comparison that varies judge.model, then catalogue.log_users")
    names = judge_names(folder)
    table = table.assign(
        judge=parts["judge"].map(lambda label: names.get(label, label)), users=parts["users"].astype(int)
    )
    table["users"] = table["users"].where(table["users"] >= 0, everybody)
    table.loc[table["method"].isin(NO_JUDGE), "judge"] = ""
    table = table.rename(columns={"effective_items": "items"}).drop_duplicates(["judge", "method", "users", "seed"])
    names = table["method"].map(TITLES) + np.where(table["judge"] == "", "", ", " + table["judge"])
    return table.assign(name=names)[["name", "judge", "method", "users", "seed", "return", "items"]]


def judge_names(folder: Path) -> dict[str, str]:
    """Judges by their labels, in which a path has no slash any more: the last part of `judge.model` in each run."""
    found = {}
    for run in folder.glob("*-log_users=*/settings.yaml"):
        label = RUN.search(run.parent.name)
        if label:
            found[label["judge"]] = yaml.safe_load(run.read_text())["judge"]["model"].rpartition("/")[2]
    return found


def train_users(folder: Path) -> int:
    """Number of train users."""
    return len(read_catalogue(next(folder.glob("*log_users=*/prepare"))).train_users)


def size_title(users: int, everybody: int) -> str:
    """How a size of the log is named in tables and figure."""
    return "all" if users == everybody else f"{users:,}"


def cells(table: pd.DataFrame, value: str, digits: int, everybody: int) -> str:
    """A row per policy, a column per size of the log."""
    sizes = sorted(table["users"].unique())
    titles = " | ".join(size_title(n, everybody) for n in sizes)
    lines = [f"| | {titles} |", "|---" * (len(sizes) + 1) + "|"]
    for name, part in table.groupby("name", sort=False):
        texts = []
        for size in sizes:
            found = part.loc[part["users"] == size, value].to_numpy(float)
            low, high = (float(np.squeeze(x)) for x in mean_interval(found)) if len(found) > 1 else (np.nan, np.nan)
            texts.append(f"{found.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" if len(found) else "")
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def worth(table: pd.DataFrame, everybody: int) -> str:
    """For each judge: log users whose warm start returns what iALP returns without a log, by seed."""
    warm = table[table["method"] == "warm"]
    alone = table[(table["method"] == "ialp") & (table["users"] == 0)]
    least = int(warm["users"].min())

    def text(users: float) -> str:
        return f"under {least}" if users < least else f"over {everybody:,}" if np.isinf(users) else f"{users:,.0f}"

    lines = ["| judge | users, by seed | median |", "|---|---|---|"]
    for judge, part in alone.groupby("judge", sort=False):
        found = []
        for seed, value in part.set_index("seed")["return"].items():
            curve = warm[warm["seed"] == seed].sort_values("users")
            x, y = np.log(curve["users"].to_numpy(float)), np.maximum.accumulate(curve["return"].to_numpy(float))
            found.append(float(np.exp(np.interp(value, y, x, left=-np.inf, right=np.inf))))
        lines.append(f"| {judge} | {', '.join(map(text, found))} | {text(float(np.median(found)))} |")
    return "\n".join(lines)


def differences(table: pd.DataFrame, everybody: int) -> str:
    """Paired differences of returns: both less the log alone, by size; the first judge alone less each other one."""
    returns = table.set_index(["method", "judge", "users", "seed"])["return"].sort_index()
    judges = table.loc[table["method"] == "ialp", "judge"].unique()
    known, pairs = set(returns.index.droplevel("seed")), []
    joint = table.loc[table["method"] == "ialp_log", ["judge", "users"]].drop_duplicates()
    for judge, users in joint.sort_values(["judge", "users"]).to_numpy():
        if users:
            title = f"both (iALP+log), {judge}, less log alone: {size_title(users, everybody)} users"
            pairs.append((title, ("ialp_log", judge, users), ("warm", "", users)))
    pairs += [(f"{judges[0]} less {other}, no log", ("ialp", judges[0], 0), ("ialp", other, 0)) for other in judges[1:]]
    lines = ["| | difference of R | seeds |", "|---|---|---|"]
    for title, one, other in pairs:
        if not {one, other} <= known:
            continue
        both = pd.concat([returns.loc[one], returns.loc[other]], axis=1, join="inner").to_numpy(float)
        if not len(both):
            continue
        found = contrasts([(both[:, 0], both[:, 1])], users_vary=True).difference[0]
        lines.append(f"| {title} | {found[0]:+.1f} [{found[1]:.1f}, {found[2]:.1f}] | {len(both)} |")
    return "\n".join(lines)


def figure(table: pd.DataFrame, everybody: int, file: Path) -> None:
    """Mean returns over the number of logged users; what needs no log is a level."""
    with matplotlib.rc_context({**svg.STYLE, "axes.grid.axis": "both"}):
        drawn, axes = svg.new_figure("Before any online step", "users whose logs are seen", "return", (6.6, 3.6))
        axes.set_xscale("symlog", linthresh=20, linscale=0.4)
        judges = [judge for judge in table["judge"].unique() if judge]
        ticks = sorted(table["users"].unique())
        for name, part in table.groupby("name", sort=False):
            judge, method = part["judge"].iloc[0], part["method"].iloc[0]
            if method == "random":
                continue
            means = part.groupby("users")["return"].mean()
            colour = COLOURS[judges.index(judge) % len(COLOURS)] if judge else svg.INK if method == "warm" else svg.GREY
            style = {"ialp": ":", "best_list": "--", "popularity": ":"}.get(method, "-")
            if method == "ialp":  # sees no log, whatever the size: a level
                means = means[:1].reindex(ticks, method="nearest")
            axes.plot(means.index, means, style, color=colour, marker="o", markersize=3, label=name)
        axes.set_xticks(ticks, [size_title(n, everybody) for n in ticks])
        axes.minorticks_off()
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        image = svg.to_markup(drawn, "log-size", "Return before any online step over the number of logged users")
    file.write_text(as_file(image), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output of ialp compare")
    parser.add_argument("--controls", type=Path, help="output of ialp compare with other judges, at log_users=0")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    everybody = train_users(options.folder)
    table = read(options.folder, everybody)
    if options.controls:
        others = read(options.controls, everybody)
        table = pd.concat([table, others[others["judge"] != ""]], ignore_index=True)
    print(f"Return of the greedy policy before any online step, by users whose logs are seen (all: {everybody:,})\n")
    print(cells(table, "return", 1, everybody), "\n\nEffective number of items recommended\n", sep="\n")
    print(cells(table, "items", 0, everybody), "\n\nUsers whose logs are worth what the judge is worth\n", sep="\n")
    print(worth(table, everybody), "\n\nDifferences, seed by seed\n", sep="\n")
    print(differences(table, everybody))
    if options.figure:
        figure(table, everybody, options.figure)


if __name__ == "__main__":
    main()
