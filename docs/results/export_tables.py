"""Put the tables of a comparison into one Markdown file, with the command, the commit and the machine they are from.

    python docs/results/export_tables.py runs/compare/comparison --command "ialp compare sample --seeds 3" \\
      --out docs/results/tables/NAME.md

The files in docs/results/tables were written by this.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import yaml

from ialp_rllib.compare.page.formats import markdown
from ialp_rllib.compare.tables import format_estimate
from ialp_rllib.machine import gpus
from ialp_rllib.report.kit.formatting import format_count
from ialp_rllib.report.kit.names import label, titles_of

TABLES = ("table3", "table4", "table5", "ratios", "budgets", "personal", "varied", "beyond")
COSTS = ("env_steps", "updates", "cpu_seconds", "pretrain_seconds", "judge_prompts", "judge_seconds", "steps_to_90")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder `comparison` that ialp compare left")
    parser.add_argument("--command", required=True, help="the command that made it")
    parser.add_argument("--commit", default="HEAD", help="commit that it was run at")
    parser.add_argument("--title", default="Comparison")
    parser.add_argument("--note", default="", help="what a reader must know")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    trees = [yaml.safe_load(path.read_text("utf-8")) for path in options.folder.parent.glob("*/settings.yaml")]
    with titles_of({tree["scenario"]: tree for tree in trees}):
        options.out.write_text("\n".join(parts(options)) + "\n", encoding="utf-8")


def parts(options: argparse.Namespace) -> Iterator[str]:
    """The pieces of the file."""
    yield f"# {options.title}\n"
    yield f"`{options.command}` at commit {commit(options.commit)}; {machine()}. {options.note}".rstrip() + "\n"
    yield headline(options.folder)
    for name in options.tables:
        path = options.folder / f"{name}.md"
        if path.is_file():
            yield path.read_text("utf-8")
    yield costs(pd.read_csv(options.folder / "costs.csv"))


def headline(folder: Path) -> str:
    """R of the greedy policy before any online step, after one epoch and at the end, and effective items at the end.

    Of methods that do not go online the first return only: the others are the same.
    """
    tables = [pd.read_csv(folder / f"table{n}.csv").query("policy == 'greedy'") for n in (3, 4, 5)]
    shown = pd.read_csv(folder / "personal.csv").query("policy == 'greedy' and epoch == 'end'")
    items = shown.set_index(["scenario", "method"])["effective_items"]
    rows = []
    for scenario, name in tables[0][["scenario", "method"]].itertuples(index=False):
        at = [table[(table["scenario"] == scenario) & (table["method"] == name)].iloc[0] for table in tables]
        returns = [format_estimate(row, "return") for row in at]
        if len(set(returns)) == 1:
            returns[1:] = ["", ""]
        rows.append([label(name, scenario), *returns, format_count(items.get((scenario, name)))])
    table = markdown(["Method", "R@0", "R@1", "R end", "effective items"], rows)
    return f"**R of the greedy policy before, after one epoch and at the end of going online**\n\n{table}"


def commit(name: str) -> str:
    said = subprocess.run(["git", "rev-parse", "--short", name], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def machine() -> str:
    """Cores, memory and GPUs."""
    memory = psutil.virtual_memory().total / 2**30
    names = ", ".join(gpu.name for gpu in gpus()) or "no GPU"
    return f"{psutil.cpu_count()} shared CPU cores, {memory:.0f} GiB, {names}"


def costs(table: pd.DataFrame) -> str:
    """Means over the seeds."""
    head = ["Scenario", "Method", "Seeds", *(name.replace("_", " ") for name in COSTS)]
    rows = [
        [row["scenario"], label(row["method"]), str(row["seeds"]), *(format_count(row[name]) for name in COSTS)]
        for _, row in table.iterrows()
    ]
    return f"**Costs of a run, means over the seeds; steps until 90% of the final return**\n\n{markdown(head, rows)}"


if __name__ == "__main__":
    main()
