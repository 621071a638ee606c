"""A run that is killed and resumed with the same command gives the results of an uninterrupted run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.judge.distillation.preferences import table_hash
from tests.small_run import arguments, copy_stages, finish, kill_when


def results(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "report" / "results.parquet").to_pandas().drop(columns="seconds")


@pytest.mark.timeout(1800)  # four processes one after the other, most of which start an engine
def test_a_run_killed_in_distillation_and_in_adaptation_gives_equal_results(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    copy_stages(small_run, out, "prepare", "users", "tune")
    steps = lambda: sorted((out / "distil").glob("part-*-*.parquet"))  # noqa: E731
    kill_when(arguments(out), lambda: len(steps()) >= 3)
    kept = len(steps())
    assert 3 <= kept < 10
    assert not (out / "distil" / "part-00000.parquet").exists()
    assert not (out / "distil" / "manifest.json").exists()

    checkpoints = lambda: sorted((out / "adapt").glob("*/seed-0/checkpoint-*"))  # noqa: E731
    kill_when(arguments(out), lambda: len(checkpoints()) >= 1)
    facts = json.loads((out / "distil" / "manifest.json").read_text())["facts"]
    assert facts["asked_now"] == 64 * 6 - 32 * kept  # answered prompts are not asked again
    prepared = (out / "prepare" / "manifest.json").stat().st_mtime_ns
    before = {p.parent.parent.name: int(p.name.removeprefix("checkpoint-")) for p in checkpoints()}
    assert before
    kinds = {path.suffix for folder in checkpoints() for path in folder.iterdir()}
    assert kinds == {".json", ".safetensors", ".parquet"}  # no pickle
    finish(arguments(out))
    assert (out / "prepare" / "manifest.json").stat().st_mtime_ns == prepared  # not run again

    assert table_hash(out / "distil") == table_hash(small_run / "distil")
    pd.testing.assert_frame_equal(results(out), results(small_run))
    for method in ("a2c", "aialp_ap"):
        left, right = (
            pq.read_table(root / "adapt" / method / "seed-0" / "curves.parquet").to_pandas()
            for root in (out, small_run)
        )
        without_times = [c for c in left.columns if "seconds" not in c]
        pd.testing.assert_frame_equal(left[without_times], right[without_times])  # losses, alpha and returns


def test_a_second_run_runs_no_stage(small_run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in small_run.rglob("manifest.json")}
    output = finish(arguments(small_run))
    assert output.count("up to date") == 7
    assert {p: p.stat().st_mtime_ns for p in small_run.rglob("manifest.json")} == before


@pytest.mark.slow
def test_a_changed_setting_runs_only_what_depends_on_it(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(small_run, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    finish(arguments(out, adapt__alpha__shape="cosine"))
    changed = {
        str(p.relative_to(out).parent) for p in out.rglob("manifest.json") if p.stat().st_mtime_ns != before.get(p)
    }
    assert changed == {".", "adapt", "adapt/aialp_ap/seed-0", "report"}
