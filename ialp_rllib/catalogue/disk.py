"""A catalogue on disk: Parquet tables; the log is written in batches, with dictionary-encoded ids, to bound memory.

``items.parquet``: ``item_id``, the attributes, ``is_cold``; the notes and the facts on the log are in its metadata.
``users.parquet``: ``user_id``, the attributes, ``is_test``, ``is_valid``, ``is_hidden``.
``interactions.parquet``: ``user_id``, ``position``, ``item_id``, ``rating``, ``split``.
``truth.parquet`` and ``propensities.parquet`` (rating worlds): ``user_id``, ``values`` (one number per item).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.settings.catalogue import ITEM_COLUMNS, USER_COLUMNS
from ialp_rllib.storage.parquet import open_parquet, read_parquet

_ROWS = 1_000_000  # rows of the log per batch


def write_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write the tables of a catalogue into ``folder`` as Parquet."""
    items = {"item_id": catalogue.item_ids, **catalogue.item_texts, "is_cold": catalogue.cold}
    users = {"user_id": catalogue.user_ids, **catalogue.user_texts}
    groups = {"test": catalogue.test_users, "valid": catalogue.valid_users, "hidden": catalogue.hidden_users}
    users |= {f"is_{name}": np.isin(np.arange(catalogue.n_users), group) for name, group in groups.items()}
    notes = {"notes": "\n".join(catalogue.notes), "log": json.dumps(catalogue.log_facts)}
    _write(pa.table(items).replace_schema_metadata(notes), folder / "items.parquet")
    _write(pa.table(users), folder / "users.parquet")
    _write_log(catalogue, folder / "interactions.parquet")
    for name, matrix in (("truth", catalogue.truth), ("propensities", catalogue.propensities)):
        if matrix is not None:
            rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
            _write(pa.table({"user_id": catalogue.user_ids, "values": rows}), folder / f"{name}.parquet")


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, write_page_checksum=True)


def _write_log(catalogue: Catalogue, path: Path) -> None:
    ids = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("user_id", ids),
            ("position", pa.int32()),
            ("item_id", ids),
            ("rating", pa.float32()),
            ("split", pa.int8()),
        ]
    )
    users, items = pa.array(catalogue.user_ids, pa.string()), pa.array(catalogue.item_ids, pa.string())
    offsets = catalogue.offsets()
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for start in range(0, len(catalogue.user), _ROWS):
            rows = slice(start, start + _ROWS)
            user, item = catalogue.user[rows], catalogue.item[rows]
            position = np.arange(start, start + len(user)) - offsets[user]
            columns = [
                pa.DictionaryArray.from_arrays(pa.array(user), users),
                pa.array(position.astype(np.int32)),
                pa.DictionaryArray.from_arrays(pa.array(item), items),
                pa.array(catalogue.rating[rows], from_pandas=True),
                pa.array(catalogue.split[rows]),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def read_catalogue(folder: Path) -> Catalogue:
    """Read a catalogue that :func:`write_catalogue` wrote.

    Raises:
        InputError: a table is missing, damaged, or lacks a column.
    """
    items = read_parquet(folder / "items.parquet", ITEM_COLUMNS)
    users = read_parquet(folder / "users.parquet", USER_COLUMNS)
    matrices = {}
    for name in ("truth", "propensities"):
        if (folder / f"{name}.parquet").is_file():
            rows = read_parquet(folder / f"{name}.parquet", ("values",))["values"].combine_chunks()
            matrices[name] = rows.flatten().to_numpy().reshape(len(rows), -1)
    metadata = items.schema.metadata or {}
    notes = metadata.get(b"notes", b"").decode()
    log = _read_log(folder / "interactions.parquet", users["user_id"], items["item_id"])
    return Catalogue(
        item_ids=items["item_id"].to_numpy(),
        item_texts=_texts(items, ITEM_COLUMNS),
        user_ids=users["user_id"].to_numpy(),
        user_texts=_texts(users, USER_COLUMNS),
        user=log["user_id"],
        item=log["item_id"],
        rating=log["rating"],
        split=log["split"],
        test_users=np.nonzero(users["is_test"].to_numpy())[0],
        valid_users=np.nonzero(users["is_valid"].to_numpy())[0],
        hidden_users=np.nonzero(users["is_hidden"].to_numpy())[0],
        cold_items=np.nonzero(items["is_cold"].to_numpy())[0],
        truth=matrices.get("truth"),
        propensities=matrices.get("propensities"),
        notes=tuple(notes.split("\n")) if notes else (),
        log_facts=json.loads(metadata.get(b"log", b"{}")),
    )


def _texts(table: pa.Table, others: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: table[name].to_numpy() for name in table.column_names if name not in others}


def _read_log(path: Path, user_ids: pa.ChunkedArray, item_ids: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """Columns of the log, with ids as indices, each ``(M,)``; ids are looked up once per batch and distinct id."""
    known = {"user_id": user_ids, "item_id": item_ids}
    types = {"user_id": np.int32, "item_id": np.int32, "rating": np.float32, "split": np.int8}
    with open_parquet(path, types, dictionaries=list(known)) as file:
        log = {name: np.empty(file.metadata.num_rows, kind) for name, kind in types.items()}
        start = 0
        for batch in file.iter_batches(_ROWS, columns=list(types)):
            rows = slice(start, start + len(batch))
            for name in types:
                values = batch[name]
                if name in known:
                    index = pc.index_in(values.dictionary, known[name].combine_chunks()).to_numpy()
                    log[name][rows] = index[values.indices.to_numpy()]
                else:
                    log[name][rows] = values.to_numpy(zero_copy_only=False)
            start += len(batch)
    return log
