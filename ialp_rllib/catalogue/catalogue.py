"""The catalogue in memory: ids become indices, the log is sorted by user and position."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.catalogue import schemas
from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class Catalogue:
    """Items, users and what users did. Items are indices ``0 .. n_items - 1``; ``pad`` = ``n_items`` is "no item".

    Attributes:
        item_ids: ``(I,)`` text.
        item_texts: attribute name -> ``(I,)`` texts.
        user_ids: ``(U,)`` text.
        user_texts: attribute name -> ``(U,)`` texts.
        user: ``(M,)`` int32, the user of each interaction, ascending.
        item: ``(M,)`` int32, the item of each interaction, in the order of the user's positions.
        rating: ``(M,)`` float32, NaN where the log has none.
        split: ``(M,)`` int8, 0 for fitting, 1 where the source keeps a row for testing only (Coat's uniform ratings).
        test_users: ascending indices of the users of the test world.
        truth: ``(U, I)`` float32, the completed ratings of a rating world, or None.
        propensities: ``(U, I)`` float32, the chance that a pair is observed, or None.
        notes: what a reader of the report must know about the data.
    """

    item_ids: np.ndarray
    item_texts: dict[str, np.ndarray]
    user_ids: np.ndarray
    user_texts: dict[str, np.ndarray]
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    split: np.ndarray
    test_users: np.ndarray
    truth: np.ndarray | None = None
    propensities: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def pad(self) -> int:
        """The index that stands for "no item"."""
        return self.n_items

    @property
    def train_users(self) -> np.ndarray:
        """Ascending indices of the users of the train world."""
        return np.setdiff1d(np.arange(self.n_users), self.test_users)

    def offsets(self) -> np.ndarray:
        """``(U + 1,)``: the rows of user u are ``offsets[u] : offsets[u + 1]``."""
        return np.searchsorted(self.user, np.arange(self.n_users + 1))

    def codes(self, texts: dict[str, np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """Attribute texts as category codes: ``(rows, n_attributes) int64`` and the number of values of each."""
        columns, sizes = [], []
        for values in texts.values():
            distinct, code = np.unique(values, return_inverse=True)
            columns.append(code)
            sizes.append(len(distinct))
        rows = len(next(iter(texts.values()))) if texts else 0
        return (np.stack(columns, 1).astype(np.int64) if columns else np.zeros((rows, 0), np.int64)), sizes


def split_users(n_users: int, share: float, seed: int) -> np.ndarray:
    """Indices of the test users: a share of all, drawn without replacement, ascending."""
    count = min(max(1, round(share * n_users)), n_users - 1)
    return np.sort(np.random.default_rng(seed).permutation(n_users)[:count])


def write_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write the tables of a catalogue into ``folder`` as Parquet."""
    items = {"item_id": catalogue.item_ids, **catalogue.item_texts}
    users = {"user_id": catalogue.user_ids, **catalogue.user_texts}
    test = np.isin(np.arange(catalogue.n_users), catalogue.test_users)
    starts = catalogue.offsets()[catalogue.user]
    interactions = {
        "user_id": catalogue.user_ids[catalogue.user],
        "position": (np.arange(len(catalogue.user)) - starts).astype(np.int32),
        "item_id": catalogue.item_ids[catalogue.item],
        "rating": pa.array(catalogue.rating, from_pandas=True),
        "split": catalogue.split,
    }
    notes = {"notes": "\n".join(catalogue.notes)}
    pq.write_table(pa.table(items).replace_schema_metadata(notes), folder / "items.parquet")
    pq.write_table(pa.table({**users, "is_test": test}), folder / "users.parquet")
    pq.write_table(pa.table(interactions), folder / "interactions.parquet")
    for name, matrix in (("truth", catalogue.truth), ("propensities", catalogue.propensities)):
        if matrix is not None:
            rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
            pq.write_table(pa.table({"user_id": catalogue.user_ids, "values": rows}), folder / f"{name}.parquet")


def read_catalogue(folder: Path) -> Catalogue:
    """Read what :func:`write_catalogue` left."""
    items = schemas.read_parquet(folder / "items.parquet")
    users = schemas.read_parquet(folder / "users.parquet")
    log = schemas.read_parquet(folder / "interactions.parquet")
    matrices = {}
    for name in ("truth", "propensities"):
        if (folder / f"{name}.parquet").is_file():
            rows = schemas.read_parquet(folder / f"{name}.parquet")["values"].combine_chunks()
            matrices[name] = rows.flatten().to_numpy().reshape(len(rows), -1)
    notes = (items.schema.metadata or {}).get(b"notes", b"").decode()
    item_ids, user_ids = items["item_id"].to_numpy(), users["user_id"].to_numpy()
    return Catalogue(
        item_ids=item_ids,
        item_texts={name: items[name].to_numpy() for name in items.column_names if name != "item_id"},
        user_ids=user_ids,
        user_texts={n: users[n].to_numpy() for n in users.column_names if n not in ("user_id", "is_test")},
        user=index_of(log["user_id"].to_numpy(), user_ids),
        item=index_of(log["item_id"].to_numpy(), item_ids),
        rating=log["rating"].to_numpy().astype(np.float32),
        split=log["split"].to_numpy(),
        test_users=np.nonzero(users["is_test"].to_numpy())[0],
        truth=matrices.get("truth"),
        propensities=matrices.get("propensities"),
        notes=tuple(notes.split("\n")) if notes else (),
    )


def index_of(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The position of each id in ``known`` (which holds every one of them), int32."""
    order = np.argsort(known)
    return order[np.searchsorted(known[order], ids)].astype(np.int32)


def from_tables(
    items: pa.Table,
    interactions: pa.Table,
    users: pa.Table | None,
    *,
    test_share: float,
    split_seed: int,
) -> Catalogue:
    """Build a catalogue from tables that conform to the schemas (see :mod:`ialp_rllib.catalogue.schemas`)."""
    item_ids = items["item_id"].to_numpy()
    log_users = interactions["user_id"].to_numpy()
    user_ids = users["user_id"].to_numpy() if users is not None else np.unique(log_users)
    user = index_of(log_users, user_ids)
    order = np.lexsort((interactions["position"].to_numpy(), user))
    if len(user_ids) < 2:
        raise InputError("interactions", f"hold {len(user_ids)} user", "at least two, one of them for the test world")
    texts = {n: items[n].to_numpy() for n in items.column_names if n != "item_id"}
    return Catalogue(
        item_ids=item_ids,
        item_texts=texts,
        user_ids=user_ids,
        user_texts={n: users[n].to_numpy() for n in users.column_names if n != "user_id"} if users is not None else {},
        user=user[order],
        item=index_of(interactions["item_id"].to_numpy(), item_ids)[order],
        rating=interactions["rating"].to_numpy(zero_copy_only=False).astype(np.float32)[order],
        split=np.zeros(len(order), np.int8),
        test_users=split_users(len(user_ids), test_share, split_seed),
    )
