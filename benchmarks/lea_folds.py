"""`ialp lea` in several folds, so that with five of them every user is tested once, in one table.

    python benchmarks/lea_folds.py industry --data DIR --set lea.model=models/SmolLM2-135M-Instruct --seeds 0 1 2
    python benchmarks/lea_folds.py sample --folds 2 --set 'lea.rows=[item_knn, base, leasr]'

Each fold is a run of its own, with its own environment, in OUT/part-N, and resumes where it was killed. Differences are
of NDCG@10, all positions, with an interval by a bootstrap over all users; seeds are averaged. p-values are corrected
for the number of comparisons of a group. Last comes how far the rewards of the folds' environments agree, for users
that neither was learnt from. {part} in a setting is the number of the fold: a model that was made of the
log, as by `ialp judge init --tiny`, has read the test users of every fold but its own.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from rich.console import Console

from ialp_rllib import runtime
from ialp_rllib.cli.bars import Bars
from ialp_rllib.compare.folds import PART
from ialp_rllib.errors import IalpError
from ialp_rllib.report.lea import sentences
from ialp_rllib.report.lea.page import COLUMNS, groups_of, lea_row
from ialp_rllib.report.lea.tables import MASKED, PLAIN, Scores
from ialp_rllib.settings import load
from ialp_rllib.stages.lea.rows import rows_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder, needed_stages


def run_folds(options: argparse.Namespace) -> list[RunFolder]:
    """Run every fold to its report."""
    runs = []
    for part in range(options.folds):
        overrides = [text.replace(PART, str(part)) for text in options.set]
        overrides += [f"catalogue.test_part={part}", f"seeds={options.seeds}"]
        if options.data:
            overrides.append(f"catalogue.data={options.data.resolve()}")
        run = RunFolder(load(options.scenario, overrides), (options.out / f"part-{part}").resolve())
        with Bars(Console(stderr=True)) as bars:
            run_all(run, bars, needed_stages(run.settings, "ranking"))
        runs.append(run)
    return runs


def table(scores: Scores, column: str, last: bool) -> None:
    """One line per row and head."""
    print(f"\n| row | head | {' | '.join(COLUMNS)} | n |\n|---|---|{'---|' * (len(COLUMNS) + 1)}")
    for row, head in scores.keys:
        found = scores.measures((row, head), column, last)
        cells = " | ".join(f"{found[name]:.4f}" for name in COLUMNS)
        print(f"| {sentences.title(row)} | {head} | {cells} | {int(found['n'] / scores.seeds(row)):,} |")


def rewards_of(run: RunFolder) -> pd.Series:
    """Reward of each logged item of the train users that the environment was not learnt from, by user and position."""
    paths = sorted((run.root / "augment" / "llm").glob("part-*.parquet"))
    table = pd.concat([pq.read_table(path, columns=["set", "user", "reward"]).to_pandas() for path in paths])
    table = table[table["set"] == "train"]
    table = table.assign(place=table.groupby("user").cumcount())
    table = table[table["reward"].notna() & ~table["user"].isin(run.facts("environment")["users"])]
    return table.set_index(["user", "place"])["reward"]


def agreement(runs: list[RunFolder]) -> None:
    """How far the environments of two folds, which were learnt from other users, give the same rewards."""
    pairs = itertools.combinations([rewards_of(run) for run in runs if run.facts("environment").get("llm")], 2)
    found = []
    for pair in pairs:
        both = pd.concat(pair, axis=1, join="inner").rank()
        found.append(both.corr().iloc[0, 1])
    if found:
        middle = sum(found) / len(found)
        print(f"\nrewards of two environments: Spearman {middle:.3f} ({len(found)} pairs, lowest {min(found):.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/lea-folds"))
    options = parser.parse_args()
    try:
        runs = run_folds(options)
    except IalpError as error:
        Console(stderr=True).print(f"[bold red]error[/] {error}", highlight=False)
        sys.exit(error.exit_code)
    finally:
        runtime.stop()
    masks = all(run.facts("recommend")["masks_seen"] for run in runs)
    settings, column = runs[0].settings.lea, MASKED if masks else PLAIN
    cases = pd.concat([pq.read_table(run.root / "ranking" / "cases.parquet").to_pandas() for run in runs])
    scores, rows = Scores(cases, column, settings.offline.ranked_by), rows_of(settings)
    groups = groups_of(scores, rows)
    lea = lea_row(rows)
    print(sentences.finding(lea.name if lea else None, groups["knn"], scores))
    for last in (False, True):
        for one in (MASKED, PLAIN):
            print(f"\n{'last' if last else 'all'} positions, seen items {'masked' if one == MASKED else 'ranked'}")
            table(scores, one, last)
    for name, found in groups.items():
        print(f"\n{name}")
        for one in found:
            print(f"{one.row:20} less {one.reference:20} {sentences.interval(one)}, p {one.p:.3f}")
    agreement(runs)


if __name__ == "__main__":
    main()
