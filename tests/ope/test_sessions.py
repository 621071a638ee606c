"""Sessions as arrays, and what is refused of a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.errors import InputError
from ialp_rllib.ope.log import read_log
from ialp_rllib.ope.sessions import Sessions, observations, sessions_of
from ialp_rllib.results.logged import check_logged, logged_table

ITEMS = np.array(["a", "b", "c", "d"], object)


def columns(**changes: Any) -> dict[str, Any]:
    """Two sessions, mixed: s: b, c after a; r: d."""
    return {
        "decision": ["0", "1", "2"],
        "session": ["s", "r", "s"],
        "user": ["u", "", "u"],
        "position": [1, 0, 0],
        "items": [["a", "b"], [], ["a"]],
        "item": ["c", "d", "b"],
        "probability": [0.25, 0.5, 1.0],
        "version": [1, 1, 1],
        "alpha": [0.1, 0.1, 0.1],
        "reward": [2.0, -1.0, 1.0],
        "ended": ["left", "", ""],
        "arm": ["", "", ""],
        **changes,
    }


def read(folder: Path, mapping: dict[str, str] | None = None, **changes: Any) -> Sessions:
    pq.write_table(pa.table(columns(**changes)), folder / "log.parquet")
    return sessions_of(read_log(folder, mapping))


def test_sessions_of_a_mixed_log(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.rows["item"].to_pylist() == ["b", "c", "d"]
    assert found.lengths.tolist() == [2, 1] and found.returns.tolist() == [3.0, -1.0]
    assert found.ended.tolist() == [True, False]
    assert found.padded(found.probability, 1.0).tolist() == [[1.0, 0.25], [0.5, 1.0]]
    assert found.user[0] != found.user[1]
    ended = found.only(found.ended)
    assert len(ended) == 1 and ended.first.tolist() == [0, 2] and ended.user.tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"position": [2, 0, 0]}, "row 1, field 'position'"),
        ({"position": [0, 0, 0]}, "field 'position'"),
        ({"position": [1, 1, 0]}, "row 2, field 'position'"),
        ({"probability": [0.25, 0.0, 1.0]}, "row 2, field 'probability'"),
        ({"probability": [0.25, -0.1, 1.0]}, "row 2, field 'probability'"),
        ({"probability": [0.25, 1.1, 1.0]}, "row 2, field 'probability'"),
        ({"probability": [0.25, None, 1.0]}, "row 2, field 'probability'"),
        ({"probability": [0.25, float("nan"), 1.0]}, "row 2, field 'probability'"),
        ({"reward": [2.0, -1.0, float("inf")]}, "row 3, field 'reward'"),
        ({"ended": ["", "", "left"]}, "row 3, field 'ended'"),
        ({"user": ["u", "", "v"]}, "row 1, field 'user'"),
    ],
)
def test_a_wrong_log_is_refused(changes: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, **changes)
    assert error.value.where.endswith(where) and "log.parquet" in error.value.where


def test_a_folder_is_one_log_whose_files_are_named(tmp_path: Path) -> None:
    table = logged_table(columns())
    pq.write_table(table[:1], tmp_path / "1.parquet")
    pq.write_table(table[1:], tmp_path / "2.parquet")
    assert sessions_of(read_log(tmp_path)).returns.tolist() == [3.0, -1.0]
    bad = table[1:].set_column(9, "reward", pa.array([1.0, float("nan")]))
    pq.write_table(bad, tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet, row 2, field 'reward'"):
        sessions_of(read_log(tmp_path))
    pq.write_table(table[:1], tmp_path / "2.parquet")
    with pytest.raises(InputError, match="a second time"):
        read_log(tmp_path)


def test_an_own_csv_needs_five_columns(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    own = {"visit": [7, 7, 8], "n": [0, 1, 0], "sku": ["b", "c", "d"], "p": [1.0, 0.25, 0.5], "reward": [1, 2, -1]}
    pa_csv.write_csv(pa.table(own), path)
    names = {"session": "visit", "position": "n", "item": "sku", "probability": "p"}
    found = sessions_of(read_log(path, names))
    assert found.ended.all() and found.returns.tolist() == [3.0, -1.0]
    assert found.rows["items"].to_pylist() == [[], ["b"], []]
    with pytest.raises(InputError, match="has no column 'session'"):
        read_log(path)
    with pytest.raises(InputError, match=r"field 'nothing' \(for 'session'\): is missing"):
        read_log(path, {**names, "session": "nothing"})
    with pytest.raises(InputError, match="is none of a log's"):
        read_log(path, {**names, "price": "p"})


def test_ids_of_a_csv_are_text(tmp_path: Path) -> None:
    """With leading zeros, dates, and under other names; an absent one is named."""
    path, names = tmp_path / "own.csv", {"session": "visit", "item": "isbn"}
    head = "visit,position,isbn,probability,reward,user\n"
    path.write_text(f"{head}007,0,0451526538,0.5,1,2024-01-01\n7,0,451526538,0.5,2,\n")
    found = sessions_of(read_log(path, names))
    assert found.rows["session"].to_pylist() == ["007", "7"] and found.rows["user"].to_pylist() == ["2024-01-01", ""]
    assert found.rows["item"].to_pylist() == ["0451526538", "451526538"]
    path.write_text(f"{head}007,0,1,0.5,1,\n8,0,,0.5,2,\n")
    with pytest.raises(InputError, match="row 2, field 'item'"):
        read_log(path, names)


def test_unknown_users_in_any_kind_of_text(tmp_path: Path) -> None:
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        users = pa.array(["u", None, "u"], pa.string()).cast(kind)
        assert read(tmp_path, user=users).rows["user"].to_pylist() == ["u", "u", ""]


@pytest.mark.parametrize("field", ["items", "answers"])
def test_an_empty_entry_of_a_list_is_named(field: str, tmp_path: Path) -> None:
    whole = [["a", "b"], [], ["a"]] if field == "items" else [[1, 1], [], [1]]
    entry = pa.chunked_array([pa.array(whole), pa.array([whole[0], [whole[0][0], None]])])
    table = pa.table({**{k: pa.array([*v, *v[:2]]) for k, v in columns(decision=["0", "1", "2"]).items()}})
    place = table.column_names.index(field) if field in table.column_names else table.num_columns
    table = (
        table.add_column(place, field, entry) if place == table.num_columns else table.set_column(place, field, entry)
    )
    with pytest.raises(InputError, match=f"log, row 5, field '{field}': holds an empty entry"):
        check_logged(table, "log")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        read_log(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_log(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_log(tmp_path / "text.parquet")


def test_observations_are_those_of_the_policy(tmp_path: Path) -> None:
    network = NetworkConfig(n_items=4, history=2, dim=4)
    seen, served = observations(read(tmp_path), network, ITEMS, np.array([], object))
    assert seen.tolist() == [[0, 4, 0], [0, 0, 1], [0, 4, 4]]
    assert served.tolist() == [1, 2, 3]
    fewer = NetworkConfig(n_items=3, history=2, dim=4)  # d is unknown, as is a
    seen, served = observations(read(tmp_path), fewer, np.array(["b", "c", "x"], object), np.array([], object))
    assert seen.tolist() == [[0, 3, 3], [0, 3, 0], [0, 3, 3]] and served.tolist() == [0, 1, 3]


def test_observations_with_users_and_answers(tmp_path: Path) -> None:
    codes = np.zeros((2, 1), int)
    network = NetworkConfig(n_items=4, history=2, dim=4, feedback=3, user_codes=codes, user_sizes=[1])
    found = read(tmp_path, user=["u", "v", "u"], answers=[[0, 3], [], [0]])
    seen, _ = observations(found, network, ITEMS, np.array(["v", "u"], object))
    assert seen.tolist() == [[1, 4, 0], [1, 0, 1 + 3 * 5], [0, 4, 4]]
    with pytest.raises(InputError, match="holds 'v'"):
        observations(found, network, ITEMS, np.array(["u"], object))
    with pytest.raises(InputError, match="one level"):
        observations(read(tmp_path, user=["u", "u", "u"], answers=[[0], [], [0]]), network, ITEMS, np.array(["u"]))
