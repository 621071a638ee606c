"""The declared Arrow schemas of what is measured, and the check of a table against them.

Two tables of a report, over all methods and seeds, and two files that each training run leaves.

:data:`RESULTS`, ``results.parquet`` of a report: one row per scenario, method, seed, epoch and policy, with what the
policy reached in the test world.

==================  =======  ==========================================================================
column              type     meaning
==================  =======  ==========================================================================
``scenario``        text     name of the scenario
``method``          text     a2c, ialp, aialp_ft, aialp_ap, or any other method's id
``seed``            int64    seed of the training run
``budget``          text     samples: updates per environment step as set; updates: one update per environment step
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
``temperature``     float64  T of the sampled policy, p^(1/T), as the validation world chose it; null: greedy
``return_se``       float64  standard error of ``return`` over the users; null with one user
``cold_share``      float64  share of the recommendations that are cold items; null where the world has none
==================  =======  ==========================================================================

A policy that does not learn is measured once, and that measurement stands in the rows of all epochs.

:data:`CURVES`, ``curves.parquet`` of a report: one row per point of a learning curve. ``series`` is ``train`` (mean
over the most recent 20 training episodes), ``test_greedy`` or ``test_sampled``; ``alpha`` is the mixture's weight, null
where the method has none; ``reward_sum`` the sum of all rewards of training so far, null in test series. ``coverage``
and ``effective_items`` are null in training, and in both tables where an older version measured.

:data:`RUN_MEASUREMENTS` and :data:`RUN_CURVES`, ``measurements.parquet`` and ``curves.parquet`` of one method and seed:
the columns above without scenario, method, seed and budget. The files of all methods have these columns, so that they
can be read as one data set; what a method does not report is null. An empty ``epoch`` marks a measurement for the
curve alone. A curve also holds, all nullable:

====================================  =======  ====================================================================
column                                type     meaning
====================================  =======  ====================================================================
``judge_prompts``                     int64    prompts that training asked a judge so far
``judge_seconds``                     float64  seconds that training waited for the answers
``cpu_seconds``                       float64  CPU time of the training process so far, without measurements
``actor_loss``, ``critic_loss``       float64  losses of the latest update
``entropy``                           float64  mean entropy of the policy in the latest update, nats
``gain``                              float64  mean of :func:`ialp_rllib.agent.policy.losses.gain` in the latest update
``divergence``                        float64  mean KL to the policy of the start, nats; null without ``agent.anchor``
====================================  =======  ====================================================================

The objective of a plugin's method may report other terms: each is one more nullable float64 column at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ialp_rllib.errors import InputError
from ialp_rllib.storage.parquet import read_parquet

POLICIES = ("greedy", "sampled")
EPOCHS = ("0", "1", "2", "end")
SERIES = ("train", "test_greedy", "test_sampled")
BUDGETS = ("samples", "updates")


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_MEASURES = [_required(name, pa.float64()) for name in ("return", "length", "reward_per_step")]
_SPREAD = [pa.field(name, pa.float64()) for name in ("coverage", "effective_items")]
_MEASURED = [pa.field(name, pa.float64()) for name in ("temperature", "return_se", "cold_share")]
_RUN = [_required("scenario", pa.string()), _required("method", pa.string()), _required("seed", pa.int64())]
_BUDGET = _required("budget", pa.string())
_REWARD_SUM = pa.field("reward_sum", pa.float64())
_PROGRESS = [_required("env_steps", pa.int64()), _required("updates", pa.int64())]

RESULTS = pa.schema(
    [
        *_RUN,
        _BUDGET,
        _required("epoch", pa.string()),
        *_PROGRESS,
        _required("policy", pa.string()),
        _required("episodes", pa.int32()),
        *_MEASURES,
        _required("seconds", pa.float64()),
        *_SPREAD,
        *_MEASURED,
    ]
)
CURVES = pa.schema(
    [
        *_RUN,
        _BUDGET,
        *_PROGRESS,
        _required("series", pa.string()),
        *_MEASURES,
        pa.field("alpha", pa.float64()),
        _required("seconds", pa.float64()),
        *_SPREAD,
        _REWARD_SUM,
    ]
)
RUN_MEASUREMENTS = pa.schema(
    [
        _required("epoch", pa.string()),
        *_PROGRESS,
        _required("policy", pa.string()),
        _required("episodes", pa.int32()),
        *_MEASURES,
        *_SPREAD,
        *_MEASURED,
        pa.field("seconds", pa.float64()),
    ]
)
RUN_CURVES = pa.schema(
    [
        _required("series", pa.string()),
        _required("env_steps", pa.int64()),
        pa.field("updates", pa.int64()),
        pa.field("judge_prompts", pa.int64()),
        pa.field("judge_seconds", pa.float64()),
        pa.field("alpha", pa.float64()),
        *(field.with_nullable(True) for field in _MEASURES),  # null before the first training episode ends
        *_SPREAD,
        _REWARD_SUM,
        *(pa.field(name, pa.float64()) for name in ("seconds", "cpu_seconds")),
        *(pa.field(name, pa.float64()) for name in ("actor_loss", "critic_loss", "entropy", "gain", "divergence")),
    ]
)
_KEY = ["scenario", "method", "seed", "budget", "epoch", "policy"]


def check_results(table: pa.Table, file: str = "results.parquet") -> pa.Table:
    """``table`` in the schema :data:`RESULTS`.

    Raises:
        InputError: no rows, a missing column, a wrong type, an unknown budget, epoch or policy, or the same measurement
            twice.
    """
    table = conform(table, RESULTS, file)
    _one_of(table, "budget", BUDGETS, file)
    _one_of(table, "epoch", EPOCHS, file)
    _one_of(table, "policy", POLICIES, file)
    keys = pd.DataFrame({name: table[name].to_numpy(zero_copy_only=False) for name in _KEY})
    problem = "the same method, seed, budget, epoch and policy occur twice"
    _reject(keys.duplicated().to_numpy(), file, problem, "one row")
    return table


def check_curves(table: pa.Table, file: str = "curves.parquet") -> pa.Table:
    """``table`` in the schema :data:`CURVES`. It may be empty.

    Raises:
        InputError: a missing column, a wrong type, or an unknown budget or series.
    """
    if table.num_rows == 0:
        return CURVES.empty_table()
    table = conform(table, CURVES, file)
    _one_of(table, "budget", BUDGETS, file)
    _one_of(table, "series", SERIES, file)
    return table


def of_budget(rows: pd.DataFrame, budget: str = "samples") -> pd.DataFrame:
    """Rows of :data:`RESULTS` or :data:`CURVES` of one budget; what does not compare budgets reads ``samples``."""
    return rows[rows["budget"] == budget].reset_index(drop=True)


def run_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of a training run as a table of ``schema``; names that it does not know become float64 columns at the end.

    Args:
        rows: values by name of the column; an absent one is null.
        schema: :data:`RUN_MEASUREMENTS` or :data:`RUN_CURVES`.
    """
    known = set(schema.names)
    others = list(dict.fromkeys(name for row in rows for name in row if name not in known))
    whole = pa.schema([*schema, *(pa.field(name, pa.float64()) for name in others)])
    return pa.Table.from_pylist([{name: row.get(name) for name in whole.names} for row in rows], schema=whole)


def read_measurements(path: Path) -> pa.Table:
    """``measurements.parquet`` of a training run, in the schema :data:`RUN_MEASUREMENTS`.

    Raises:
        InputError: no such file, not Parquet, no rows, a missing column, or a wrong type.
    """
    return read_run_file(path, RUN_MEASUREMENTS)


def read_curves(path: Path) -> pa.Table:
    """``curves.parquet`` of a training run, in the schema :data:`RUN_CURVES`, and further columns where it has some.

    Raises:
        InputError: no such file, not Parquet, no rows, a missing column, or a wrong type.
    """
    return read_run_file(path, RUN_CURVES)


def read_run_file(path: Path, schema: pa.Schema) -> pa.Table:
    """A file of a training run in ``schema``; further columns are read as numbers.

    Raises:
        InputError: no such file, not Parquet, no rows, a missing column, or a wrong type.
    """
    expected = f"the Parquet file that a training run leaves; delete {path.parent} to run it again"
    table = read_parquet(path, expected=expected)
    others = [pa.field(name, pa.float64()) for name in table.column_names if name not in schema.names]
    return conform(table, pa.schema([*schema, *others]), str(path))


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
