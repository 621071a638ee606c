"""From files on disk to a checked :class:`Catalogue`: one reader per kind of source."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from ialp_rllib.catalogue import coat, schemas
from ialp_rllib.catalogue.catalogue import Catalogue, from_tables
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings


def read_source(settings: CatalogueSettings) -> Catalogue:
    """Read and check the data that ``settings`` name.

    Raises:
        InputError: the folder or a file is missing, or a table is broken; names file, row and field.
    """
    folder = data_folder(settings.data)
    if settings.source == "coat":
        return coat.read(folder, settings.test_share, settings.split_seed)
    return _read_parquet(folder, settings)


def data_folder(name: str) -> Path:
    """A data folder: a path, or ``package:NAME`` for data that ships with the package."""
    if not name:
        raise InputError("catalogue.data", "is empty", "the folder that holds the data: --data DIR")
    folder = package_data(name.removeprefix("package:")) if name.startswith("package:") else Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", "the folder that holds the data: --data DIR")
    return folder


def package_data(name: str) -> Path:
    """Folder of the project's own ``data/``: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_data", package.parent / "data", Path(sysconfig.get_path("data")) / "ialp_rllib"):
        if (root / name).is_dir():
            return root / name
    raise InputError(f"data/{name}", "is not part of this installation", "a checkout, or a wheel built with its data")


def _read_parquet(folder: Path, settings: CatalogueSettings) -> Catalogue:
    files = {name: folder / f"{name}.parquet" for name in ("items", "interactions", "users")}
    items = schemas.conform(
        schemas.read_parquet(files["items"]), schemas.items_schema(settings.attributes), str(files["items"])
    )
    schemas.check_ids(items, "item_id", str(files["items"]))
    users = None
    if settings.user_attributes or files["users"].is_file():
        table = schemas.read_parquet(files["users"])
        users = schemas.conform(table, schemas.users_schema(settings.user_attributes), str(files["users"]))
        schemas.check_ids(users, "user_id", str(files["users"]))
    log = schemas.conform(schemas.read_parquet(files["interactions"]), schemas.INTERACTIONS, str(files["interactions"]))
    known_users = users["user_id"].to_numpy() if users is not None else None
    schemas.check_interactions(log, items["item_id"].to_numpy(), known_users, str(files["interactions"]))
    return from_tables(items, log, users, test_share=settings.test_share, split_seed=settings.split_seed)
