"""The study of LEA's weights: what its points depend on, and the table of their results."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ialp_rllib.results.augmented import CASES
from ialp_rllib.settings import load
from ialp_rllib.storage import Stage, write_json
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "tune_experiments" / "lea_weights"


def ranks(folder: Path, shift: int) -> None:
    """Ranks of 60 users with two cases each."""
    rank = np.maximum(np.random.default_rng(0).integers(0, 30, 120) - shift, 0)
    user = np.arange(120) // 2
    columns = ["x"] * 120, [0] * 120, ["supervised"] * 120, user, user % 7, [True] * 120, rank + 1.0, rank + 0.0
    folder.mkdir(parents=True)
    pq.write_table(pa.table(dict(zip(CASES.names, columns, strict=True)), schema=CASES), folder / "ranks.parquet")


def test_the_points_of_a_study_in_one_table(tmp_path: Path) -> None:
    recommend = tmp_path / "base" / "recommend"
    for name, shift in (("snqn", 0), ("snqn-leasr", 1)):
        ranks(recommend / name / "seed-0", shift)
    Stage(recommend, "recommend", "x", ()).finish({"masks_seen": True}, 0.0)
    ranks(tmp_path / "weights" / "h-0.1-q-0.5" / "seed-0", 6)
    ranks(tmp_path / "share-0.05" / "recommend" / "snqn-leasr" / "seed-0", 0)
    points = [
        {"w_h": 0.1, "w_aq": 0.5, "seed": 0, "folder": "weights/h-0.1-q-0.5/seed-0"},
        {"share": 0.05, "run": "share-0.05"},
    ]
    write_json(tmp_path / "study.json", {"seeds": [0], "base": "base", "points": points})
    table = runpy.run_path(str(FOLDER / "analysis.py"))["summarise"](tmp_path)
    better, equal = table.to_dict("records")
    assert (better["w_h"], better["w_aq"], equal["share"]) == (0.1, 0.5, 0.05)
    assert better["low"] > 0 and better["p"] < 0.05
    assert equal["difference"] == pytest.approx(0) and equal["p"] == 1


def test_a_point_depends_on_its_weights_and_not_on_the_folder(tmp_path: Path) -> None:
    sweep = runpy.run_path(str(FOLDER / "sweep.py"))
    settings = load("sample", ["lea.rows=[item_knn, base, leasr]"])
    one, other = (sweep["weight_stage"](settings, tmp_path / "base", 0.1, q, 0) for q in (0.1, 0.2))
    assert one.fingerprint != other.fingerprint and one.folder != other.folder
    assert one.folder == tmp_path / "weights" / "h-0.1-q-0.1" / "seed-0"
    shared = sweep["shared"](settings, 0.05)
    assert shared.lea.environment.share == 0.05 and shared.lea.offline == settings.lea.offline
