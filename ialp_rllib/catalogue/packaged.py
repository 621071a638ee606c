"""Location of the data that ship with the package."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from ialp_rllib.errors import InputError


def package_data(name: str) -> Path:
    """Path of a folder of the project's ``data/``: next to the package in a checkout, inside it when installed.

    Raises:
        InputError: the installation does not contain this folder.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_data", package.parent / "data", Path(sysconfig.get_path("data")) / "ialp_rllib"):
        if (root / name).is_dir():
            return root / name
    raise InputError(f"data/{name}", "is not part of this installation", "a checkout, or a wheel built with its data")
