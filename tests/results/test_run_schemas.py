"""The files of training runs have declared schemas: those of different methods are one data set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.results.schemas import RUN_CURVES, RUN_MEASUREMENTS, read_curves, read_measurements, run_table

POINT = {"series": "train", "env_steps": 32, "updates": 1, "return": None, "seconds": 0.5, "cpu_seconds": 0.4}
A2C = {**POINT, "alpha": None, "actor_loss": 0.1, "critic_loss": 2.0}
AP = {**POINT, "alpha": 0.1, "return": 1.5, "judge_prompts": 64, "temperature": 0.2}
MEASURED = {"epoch": "0", "env_steps": 0, "updates": 0, "policy": "greedy", "episodes": 40}
MEASURED |= {"return": 2.0, "length": 3.0, "reward_per_step": 2 / 3, "seconds": 0.0}


def write(rows: list[dict], path: Path, schema: pa.Schema = RUN_CURVES) -> Path:
    pq.write_table(run_table(rows, schema), path)
    return path


def test_curves_of_two_methods_are_one_data_set(tmp_path):
    write([A2C, {**A2C, "env_steps": 64}], tmp_path / "a2c.parquet")
    write([AP], tmp_path / "aialp_ap.parquet")
    table = ds.dataset(str(tmp_path)).to_table().sort_by([("alpha", "ascending")])
    assert table["alpha"].to_pylist() == [0.1, None, None]
    assert table["judge_prompts"].to_pylist() == [64, None, None]
    assert table["critic_loss"].to_pylist() == [None, 2.0, 2.0]
    for name in ("a2c", "aialp_ap"):
        schema = pq.read_schema(tmp_path / f"{name}.parquet")
        assert [schema.field(column.name) for column in RUN_CURVES] == list(RUN_CURVES)


def test_terms_of_a_plugin_are_kept_as_numbers(tmp_path):
    table = read_curves(write([AP, {**AP, "temperature": None, "spread": 3}], tmp_path / "curves.parquet"))
    assert table.schema.names[len(RUN_CURVES) :] == ["temperature", "spread"]
    assert table.schema.field("spread").type == pa.float64()
    assert table["temperature"].to_pylist() == [0.2, None]
    assert table["spread"].to_pylist() == [None, 3.0]


def test_measurements_survive_writing_and_reading(tmp_path):
    rows = [MEASURED, {**MEASURED, "epoch": "", "policy": "sampled", "coverage": 0.5, "effective_items": 7.0}]
    table = read_measurements(write(rows, tmp_path / "measurements.parquet", RUN_MEASUREMENTS))
    assert table.schema == RUN_MEASUREMENTS
    assert table["coverage"].to_pylist() == [None, 0.5]
    assert [{k: row[k] for k in MEASURED} for row in table.to_pylist()[:1]] == [MEASURED]


def test_a_file_of_an_earlier_version_is_read_in_the_declared_schema(tmp_path):
    """Its types came from its rows: a column without a value had the type null, and absent columns were left out."""
    old = {"series": ["train"], "env_steps": [32], "updates": [1], "alpha": [None], "return": [1.0], "seconds": [1.0]}
    pq.write_table(pa.table(old), tmp_path / "curves.parquet")
    table = read_curves(tmp_path / "curves.parquet")
    assert table.schema == RUN_CURVES
    assert table["alpha"].to_pylist() == table["cpu_seconds"].to_pylist() == [None]


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "curves.parquet"
    with pytest.raises(InputError, match=r"curves\.parquet: no such file"):
        read_curves(path)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"curves\.parquet: cannot be read as Parquet"):
        read_curves(path)
    pq.write_table(pa.table({"series": ["train"]}), path)
    with pytest.raises(InputError, match=r"curves\.parquet, field 'env_steps': is missing"):
        read_curves(path)
    pq.write_table(run_table([MEASURED], RUN_MEASUREMENTS).drop_columns(["policy"]), path)
    with pytest.raises(InputError, match="field 'policy'"):
        read_measurements(path)


def test_a_required_value_that_is_missing_is_not_written(tmp_path):
    with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
        write([{**POINT, "series": None}], tmp_path / "curves.parquet")
