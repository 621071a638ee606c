"""Table of a study of sweep.py: NDCG@10 of every point, and its difference to the row without an environment.

python tune_experiments/lea_weights/analysis.py [--out runs/lea-weights]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ialp_rllib.report.lea.tables import MASKED, PLAIN, Scores
from ialp_rllib.storage import read_json, read_manifest

BASE, LEA = "base", "leasr"


def read(paths: list[Path], row: str) -> pd.DataFrame:
    """Ranks of some parts, as one row."""
    return pd.concat([pq.read_table(path / "ranks.parquet").to_pandas() for path in paths]).assign(row=row)


def summarise(out: Path) -> pd.DataFrame:
    """One row per point: what varies, NDCG@10, and the difference to the row without an environment."""
    study = read_json(out / "study.json", ("seeds", "points"))
    seeds, recommend = study["seeds"], out / study["base"] / "recommend"
    manifest = read_manifest(recommend)
    assert manifest is not None, "sweep.py finished it"
    name = next(row.name for row in recommend.iterdir() if row.name.endswith(f"-{LEA}")).removesuffix(f"-{LEA}")
    parts = {BASE: [recommend / name / f"seed-{seed}" for seed in seeds]}
    labels: dict[str, dict[str, Any]] = {}
    for point in study["points"]:
        if "share" in point:
            label = f"share {point['share']:g}"
            parts[label] = [out / point["run"] / "recommend" / f"{name}-{LEA}" / f"seed-{seed}" for seed in seeds]
            labels[label] = {"share": point["share"]}
        else:
            label = f"w_h {point['w_h']:g}, w_aq {point['w_aq']:g}"
            parts.setdefault(label, []).append(out / point["folder"])
            labels[label] = {"w_h": point["w_h"], "w_aq": point["w_aq"]}
    cases = pd.concat([read(paths, label) for label, paths in parts.items()], ignore_index=True)
    scores = Scores(cases, MASKED if manifest["facts"]["masks_seen"] else PLAIN, "supervised")
    found = scores.differences([(label, BASE) for label in labels])
    return pd.DataFrame(
        [
            {**labels[one.row], "ndcg@10": scores.mean(one.row), "difference": one.value, "low": one.low,
             "high": one.high, "p": one.p}
            for one in found
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lea-weights"))
    options = parser.parse_args()
    table = summarise(options.out)
    table.to_parquet(options.out / "study.parquet", index=False)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep=""))


if __name__ == "__main__":
    main()
