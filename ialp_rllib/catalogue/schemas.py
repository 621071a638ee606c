"""The declared Arrow schemas of the three tables, and the check of a table against them.

``items``: ``item_id`` and one text column per attribute. ``interactions``: ``user_id``, ``position`` (order within the
user, any whole numbers), ``item_id``, optional ``rating`` and ``timestamp`` (Unix seconds). ``users`` (optional):
``user_id`` and one text column per attribute. Ids may be text or whole numbers; they are kept as text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ialp_rllib.errors import InputError

ITEMS = pa.schema([pa.field("item_id", pa.string(), nullable=False)])
USERS = pa.schema([pa.field("user_id", pa.string(), nullable=False)])
INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("timestamp", pa.int64()),
    ]
)


def items_schema(attributes: tuple[str, ...]) -> pa.Schema:
    """Schema of the items with these text attributes."""
    return _with_texts(ITEMS, attributes)


def users_schema(attributes: tuple[str, ...]) -> pa.Schema:
    """Schema of the users with these text attributes."""
    return _with_texts(USERS, attributes)


def _with_texts(schema: pa.Schema, names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([*schema, *(pa.field(name, pa.string()) for name in names)])


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file as a table, or an :class:`InputError`."""
    if not path.is_file():
        raise InputError(str(path), "no such file", "a Parquet file")
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            str(path), f"cannot be read as Parquet ({str(error).splitlines()[0]})", "a Parquet file"
        ) from error


def conform(table: pa.Table, schema: pa.Schema, file: str) -> pa.Table:
    """The columns of ``schema`` from ``table``, cast to its types.

    Nullable number columns that are absent are filled with nulls, and missing texts become empty; every other gap is an
    error.

    Raises:
        InputError: a column is missing, holds a wrong type, or a required value is absent; names file, row and field.
    """
    if table.num_rows == 0:
        raise InputError(file, "holds no rows", "at least one row")
    columns = []
    for column in schema:
        if column.name not in table.column_names:
            if not column.nullable or pa.types.is_string(column.type):
                raise InputError(
                    f"{file}, field {column.name!r}",
                    f"is missing (the file has {', '.join(table.column_names)})",
                    f"a column of type {column.type}",
                )
            columns.append(pa.nulls(table.num_rows, column.type))
            continue
        columns.append(_cast(table[column.name], column, file))
    return pa.table(columns, schema=schema)


def _cast(values: pa.ChunkedArray, column: pa.Field, file: str) -> pa.Array:
    values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # combine_chunks of an empty array keeps its type
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    source, target = values.type, column.type
    fits = source == target or pa.types.is_null(source)
    if pa.types.is_string(target):
        fits = fits or pa.types.is_integer(source) or pa.types.is_large_string(source)
    elif pa.types.is_integer(target):
        fits = fits or pa.types.is_integer(source) or pa.types.is_floating(source)
    else:
        fits = fits or pa.types.is_integer(source) or pa.types.is_floating(source)
    if not fits:
        raise InputError(f"{file}, field {column.name!r}", f"holds {source}", f"values of type {target}")
    if not column.nullable and values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        raise InputError(_place(file, row, column.name), "is empty", f"a value of type {target}")
    try:
        values = values.cast(target)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{file}, field {column.name!r}", str(error).splitlines()[0], f"values of type {target}"
        ) from error
    if column.nullable and pa.types.is_string(target):
        values = pc.fill_null(values, "")
    return values


def check_ids(table: pa.Table, column: str, file: str) -> None:
    """Every id is there once and is not empty."""
    ids = table[column].to_numpy()
    _reject(ids == "", file, column, ids, "is empty", "a non-empty id")
    _, first = np.unique(ids, return_index=True)
    repeated = np.ones(len(ids), bool)
    repeated[first] = False
    _reject(repeated, file, column, ids, "occurs a second time", "every id once")


def check_interactions(table: pa.Table, item_ids: np.ndarray, user_ids: np.ndarray | None, file: str) -> None:
    """Ids are known, ratings are finite where given, no user has two rows at one position."""
    items, users = table["item_id"].to_numpy(), table["user_id"].to_numpy()
    _reject(~np.isin(items, item_ids), file, "item_id", items, "is not in the items table", "an item_id of items")
    if user_ids is not None:
        _reject(~np.isin(users, user_ids), file, "user_id", users, "is not in the users table", "a user_id of users")
    ratings = table["rating"]
    given = ratings.is_valid().to_numpy()
    numbers = ratings.to_numpy(zero_copy_only=False)
    _reject(given & ~np.isfinite(numbers), file, "rating", numbers, "is not a number", "a finite number, or nothing")
    positions = table["position"].to_numpy()
    order = np.lexsort((positions, users))
    same = (users[order][1:] == users[order][:-1]) & (positions[order][1:] == positions[order][:-1])
    clash = np.zeros(len(users), bool)
    clash[order[1:][same]] = True
    _reject(clash, file, "position", positions, "occurs twice for this user", "one row per user and position")


def _reject(bad: np.ndarray, file: str, field: str, values: np.ndarray, problem: str, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        raise InputError(_place(file, row, field), f"{values[row]!s} {problem}{more}", expected)


def _place(file: str, row: int, field: str) -> str:
    return f"{file}, row {row + 1}, field {field!r}"
