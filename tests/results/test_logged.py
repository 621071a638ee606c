"""The schema of logged decisions."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.results.logged import LOGGED, check_logged, logged_table


def columns(**changes: Any) -> dict[str, list[Any]]:
    return {
        "decision": ["d0", "d1"],
        "session": ["s", "s"],
        "user": ["", ""],
        "position": [0, 1],
        "items": [["a"], ["a", "b"]],
        "item": ["b", "c"],
        "probability": [0.5, 0.25],
        "version": [3, 3],
        "alpha": [0.1, 0.1],
        "reward": [1.0, 0.0],
        "ended": ["", "left"],
        "arm": ["", ""],
        **changes,
    }


def test_a_log_keeps_its_schema() -> None:
    table = check_logged(logged_table(columns()), "log.parquet")
    assert table.schema == LOGGED and table["answers"].null_count == 2
    assert check_logged(table, "log.parquet").equals(table)


def test_columns_of_other_types_are_cast() -> None:
    plain = pa.table(columns(session=[7, 7], reward=[1, 0]))
    table = check_logged(plain, "log.parquet")
    assert table["session"].to_pylist() == ["7", "7"] and table["reward"].to_pylist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"ended": ["", "bored"]}, "row 2, field 'ended'"),
        ({"decision": ["d0", "d0"]}, "row 2, field 'decision'"),
        ({"items": [["a"], None]}, "row 2, field 'items'"),
        ({"items": [1.5, 2.5]}, "field 'items'"),
        ({"probability": [0.5, None]}, "row 2, field 'probability'"),
        ({"probability": ["x", "y"]}, "field 'probability'"),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as error:
        check_logged(pa.table(columns(**changes)), "log.parquet")
    assert where in error.value.where


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match=r"'items'.*is missing"):
        check_logged(pa.table(columns()).drop_columns(["items"]), "log.parquet")
