"""Logged decisions: what a policy in service showed to users, with what probability, and what they answered.

Written by the service (its decisions joined with their feedback) and by simulated logs, read by the off-policy
estimators. A team's own log is read into the same columns. :data:`LOGGED`, one row per decision that was shown:

===============  =============  ====================================================================================
column           type           meaning
===============  =============  ====================================================================================
``decision``     text           id of the decision, distinct
``session``      text           id of the session
``user``         text           id of the user; empty: not known
``position``     int32          number of the decision in its session: 0, 1, ... without a gap
``items``        list of text   ids of the items shown before in the session, the oldest first: what the policy saw
``item``         text           id of the item that was served
``probability``  float64        of serving it, in (0, 1]: of the whole act, after masks, mixture and fallback, given
                                what the session has shown; not given which policy was drawn with the session
``version``      int64          version of the policy that decided
``alpha``        float64        weight of its learning part, in [0, 1]
``reward``       float64        the user's answer
``ended``        text           how the session ended after it: ``left``, ``limit``, or empty: it went on, or is running
``arm``          text           arm of the test that the session belongs to; may be empty
``answers``      list of int32  levels of the user's answers to ``items``, where the state knows them; else empty, null
===============  =============  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ialp_rllib.errors import InputError
from ialp_rllib.results.schemas import conform

ENDED = ("", "left", "limit")
"""Values of ``ended``."""
LEFT, LIMIT = "left", "limit"


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


LOGGED = pa.schema(
    [
        _required("decision", pa.string()),
        _required("session", pa.string()),
        _required("user", pa.string()),
        _required("position", pa.int32()),
        _required("items", pa.list_(pa.string())),
        _required("item", pa.string()),
        _required("probability", pa.float64()),
        _required("version", pa.int64()),
        _required("alpha", pa.float64()),
        _required("reward", pa.float64()),
        _required("ended", pa.string()),
        _required("arm", pa.string()),
        pa.field("answers", pa.list_(pa.int32())),
    ]
)
_LISTS = ("items", "answers")


def logged_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Columns by name as a table of :data:`LOGGED`; without ``answers`` they are null."""
    rows = len(columns["decision"])
    arrays = [pa.array(columns.get(field.name, [None] * rows), field.type) for field in LOGGED]
    return pa.table(arrays, schema=LOGGED)


def check_logged(table: pa.Table, file: str) -> pa.Table:
    """``table`` in the schema :data:`LOGGED`.

    Raises:
        InputError: no rows, a missing column, a wrong type, an absent value, a decision that occurs twice, or an
            unknown ``ended``; names file, row and field.
    """
    lists = {name: _list_column(table, LOGGED.field(name), file) for name in _LISTS}
    plain = conform(table, pa.schema([field for field in LOGGED if field.name not in _LISTS]), file)
    known = pc.is_in(plain["ended"], pa.array(ENDED)).to_numpy(zero_copy_only=False)
    if not known.all():
        row = int((~known).argmax())
        found = plain["ended"][row].as_py()
        raise InputError(f"{file}, row {row + 1}, field 'ended'", f"holds {found!r}", "empty, left or limit")
    decisions = plain["decision"].to_pandas()
    if (twice := decisions.duplicated().to_numpy()).any():
        row = int(twice.argmax())
        problem = f"{decisions[row]!r} occurs a second time"
        raise InputError(f"{file}, row {row + 1}, field 'decision'", problem, "each decision once")
    arrays = [lists[name] if name in lists else plain[name] for name in LOGGED.names]
    return pa.table(arrays, schema=LOGGED)


def _list_column(table: pa.Table, field: pa.Field, file: str) -> pa.ChunkedArray | pa.Array:
    """A column of lists; an absent one that may be null is null."""
    where = f"{file}, field {field.name!r}"
    if field.name not in table.column_names:
        if field.nullable:
            return pa.nulls(table.num_rows, field.type)
        raise InputError(where, f"is missing (the file has {', '.join(table.column_names)})", f"a {field.type} column")
    values = table[field.name]
    try:
        values = values.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(where, f"holds {values.type}", f"values of type {field.type}") from error
    if not field.nullable and values.null_count:
        row = int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        raise InputError(f"{file}, row {row + 1}, field {field.name!r}", "is empty", "a list, of the first: []")
    entries = pc.list_flatten(values)
    if entries.null_count:
        row = pc.filter(pc.list_parent_indices(values), entries.is_null())[0].as_py()
        raise InputError(
            f"{file}, row {row + 1}, field {field.name!r}", "holds an empty entry", "a value in each place"
        )
    return values
