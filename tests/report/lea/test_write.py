"""Rankings of several folds as one study."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.report.lea.write import mean_facts, write_ranking
from ialp_rllib.settings import load
from ialp_rllib.stages.lea.folds import folds_of
from ialp_rllib.stages.lea.model import split_of
from tests.stages.lea.small import SMALL, recommended, until


def test_folds_are_one_set_of_users(tmp_path: Path) -> None:
    settings = load("sample", [*SMALL, "lea.rows=[popularity, item_knn]"])
    runs = folds_of(settings, tmp_path, 2)
    for run in runs:
        recommended(until(run, "prepare"))
        run.stage("recommend").finish({"masks_seen": True, "cases": len(split_of(run).test)}, 1.0)
    facts = write_ranking(runs, tmp_path)
    cases = pq.read_table(tmp_path / "cases.parquet").to_pandas()
    tested = [set(run.catalogue.test_users.tolist()) for run in runs]
    assert not tested[0] & tested[1] and set(cases["user"]) == tested[0] | tested[1]
    assert set(facts["ndcg@10"]) == {"popularity", "item_knn"}
    page = (tmp_path / "index.html").read_text()
    assert "2 folds" in page and f"{len(cases) // 2:,} cases" in page


def test_as_many_folds_as_there_are_parts(tmp_path: Path) -> None:
    settings = load("sample", ["lea.model=judge-{part}"])
    runs = folds_of(settings, tmp_path, 5)
    assert [run.settings.lea.model for run in runs] == [f"judge-{part}" for part in range(5)]
    with pytest.raises(InputError, match="1 to 5"):
        folds_of(settings, tmp_path, 6)


def test_means_of_facts() -> None:
    one = {
        "users": 3,
        "loss": [1.0, 2.0],
        "users_of": [1, 2],
        "quality": {"right": 0.5},
        "stopped": True,
        "name": "a",
        "curve": [1.0],
    }
    two = {
        "users": 6,
        "loss": [2.0, 4.0],
        "users_of": [5, 6],
        "quality": {"right": 0.7},
        "stopped": True,
        "name": "b",
        "curve": [],
    }
    found = mean_facts([one, two])
    assert found["users"] == 4 and found["loss"] == [1.5, 3.0] and found["quality"]["right"] == pytest.approx(0.6)
    assert found["users_of"] == [1, 2] and found["stopped"] is True and found["name"] == "a" and found["curve"] == [1.0]
