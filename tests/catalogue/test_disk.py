"""Round trips of a catalogue on disk."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ialp_rllib.catalogue import Catalogue, disk
from ialp_rllib.catalogue.disk import read_catalogue, write_catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from tests.catalogue.made_up import USERS, read, write


def assert_same(left: Catalogue, right: Catalogue) -> None:
    for field in fields(Catalogue):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, dict) and field.name != "log_facts":
            assert list(a) == list(b)
            assert all(a[name].tolist() == b[name].tolist() for name in a)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_round_trip_in_batches(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_ROWS", rows)
    users = [*USERS, {"user_id": "idle", "country": ""}]
    catalogue = read(write(tmp_path / "data", users=users), user_attributes=["country"], interactions={"position": ""})
    write_catalogue(catalogue, tmp_path)
    assert_same(read_catalogue(tmp_path), catalogue)


def test_round_trip_and_layout_of_the_sample(tmp_path: Path) -> None:
    catalogue = read_source(load("sample").catalogue)
    write_catalogue(catalogue, tmp_path)
    assert_same(read_catalogue(tmp_path), catalogue)
    log = pq.read_table(tmp_path / "interactions.parquet").to_pandas()
    assert list(log) == ["user_id", "position", "item_id", "rating", "split"]
    assert log["user_id"].tolist() == catalogue.user_ids[catalogue.user].tolist()
    first = log[log["user_id"] == catalogue.user_ids[7]]
    assert first["position"].tolist() == list(range(len(first)))


def test_round_trip_of_coat(coat_data: Path, tmp_path: Path) -> None:
    catalogue = read_source(load("coat", [f"catalogue.data={coat_data}"]).catalogue)
    write_catalogue(catalogue, tmp_path)
    assert catalogue.truth is not None
    assert catalogue.propensities is not None
    assert_same(read_catalogue(tmp_path), catalogue)


def test_damaged_table(tmp_path: Path) -> None:
    write_catalogue(read(write(tmp_path / "data")), tmp_path)
    log = (tmp_path / "interactions.parquet").read_bytes()
    (tmp_path / "interactions.parquet").write_bytes(log[: len(log) // 2])
    with pytest.raises(InputError, match=r"interactions\.parquet: cannot be read as Parquet"):
        read_catalogue(tmp_path)
    (tmp_path / "users.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"users\.parquet: cannot be read as Parquet"):
        read_catalogue(tmp_path)
    (tmp_path / "items.parquet").unlink()
    with pytest.raises(InputError, match=r"items\.parquet: no such file"):
        read_catalogue(tmp_path)
