"""The declared Arrow schemas of ``results.parquet`` and ``curves.parquet``, and the check of a table against them.

``results``: one row per scenario, method, seed, epoch and policy: what one policy reached in the test world.

==================  =======  ==========================================================================
column              type     meaning
==================  =======  ==========================================================================
``scenario``        text     name of the scenario
``method``          text     a2c, ialp, aialp_ft, aialp_ap, or any other method's id
``seed``            int64    seed of the training run
``epoch``           text     0 (before any online step), 1, 2, or end
``env_steps``       int64    environment steps of training so far
``updates``         int64    gradient updates so far
``policy``          text     greedy, or sampled
``episodes``        int32    test episodes of this measurement
``return``          float64  mean over the episodes of the sum of rewards
``length``          float64  mean over the episodes of the number of steps
``reward_per_step`` float64  sum of all rewards / sum of all lengths
``seconds``         float64  wall time of the training run so far
``coverage``        float64  share of the catalogue's items that were recommended in these episodes
``effective_items`` float64  exp of the entropy of the recommended items' frequencies (Hill number of order 1)
==================  =======  ==========================================================================

``curves``: one row per point of a learning curve. ``series`` is ``train`` (mean over the most recent 20 training
episodes), ``test_greedy`` or ``test_sampled``; ``alpha`` is the mixture's weight, null where the method has none.
``coverage`` and ``effective_items`` are null in training, and in both tables where an older version measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ialp_rllib.errors import InputError

POLICIES = ("sampled", "greedy")
EPOCHS = ("0", "1", "2", "end")
SERIES = ("train", "test_sampled", "test_greedy")


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_MEASURES = [_required(name, pa.float64()) for name in ("return", "length", "reward_per_step")]
_SPREAD = [pa.field(name, pa.float64()) for name in ("coverage", "effective_items")]
_RUN = [_required("scenario", pa.string()), _required("method", pa.string()), _required("seed", pa.int64())]
_PROGRESS = [_required("env_steps", pa.int64()), _required("updates", pa.int64())]

RESULTS = pa.schema(
    [
        *_RUN,
        _required("epoch", pa.string()),
        *_PROGRESS,
        _required("policy", pa.string()),
        _required("episodes", pa.int32()),
        *_MEASURES,
        _required("seconds", pa.float64()),
        *_SPREAD,
    ]
)
CURVES = pa.schema(
    [
        *_RUN,
        *_PROGRESS,
        _required("series", pa.string()),
        *_MEASURES,
        pa.field("alpha", pa.float64()),
        _required("seconds", pa.float64()),
        *_SPREAD,
    ]
)
_KEY = ["scenario", "method", "seed", "epoch", "policy"]


def check_results(table: pa.Table, file: str = "results.parquet") -> pa.Table:
    """``table`` in the schema :data:`RESULTS`.

    Raises:
        InputError: no rows, a missing column, a wrong type, an unknown epoch or policy, or the same measurement twice.
    """
    table = conform(table, RESULTS, file)
    _one_of(table, "epoch", EPOCHS, file)
    _one_of(table, "policy", POLICIES, file)
    keys = pd.DataFrame({name: table[name].to_numpy(zero_copy_only=False) for name in _KEY})
    _reject(keys.duplicated().to_numpy(), file, "the same method, seed, epoch and policy stand there twice", "one row")
    return table


def check_curves(table: pa.Table, file: str = "curves.parquet") -> pa.Table:
    """``table`` in the schema :data:`CURVES`. It may be empty.

    Raises:
        InputError: a missing column, a wrong type, or an unknown series.
    """
    if table.num_rows == 0:
        return CURVES.empty_table()
    table = conform(table, CURVES, file)
    _one_of(table, "series", SERIES, file)
    return table


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
        raise InputError(f"{file}, row {row + 1}, field {column.name!r}", "is empty", f"a value of type {target}")
    try:
        values = values.cast(target)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{file}, field {column.name!r}", str(error).splitlines()[0], f"values of type {target}"
        ) from error
    if column.nullable and pa.types.is_string(target):
        values = pc.fill_null(values, "")
    return values


def _one_of(table: pa.Table, field: str, known: tuple[str, ...], file: str) -> None:
    values = table[field].to_numpy(zero_copy_only=False)
    bad = ~np.isin(values.astype(str), known)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{file}, row {row + 1}, field {field!r}", f"holds {values[row]!r}", f"one of {', '.join(known)}"
        )


def _reject(bad: np.ndarray, file: str, problem: str, expected: str) -> None:
    if bad.any():
        raise InputError(f"{file}, row {int(np.argmax(bad)) + 1}", problem, expected)
