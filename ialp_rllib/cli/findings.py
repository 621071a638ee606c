"""One check of ``ialp doctor``, and what all of them use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packaging.specifiers import SpecifierSet

GIB = 1024**3
REINSTALL = "run requirements/install.sh (make venv) again"

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        name: what was checked.
        status: ``ok``; ``warning``: works with limitations; ``problem``: a run will fail.
        finding: the result in words.
        remedy: how to fix it; empty if there is nothing to fix.
    """

    name: str
    status: Status
    finding: str
    remedy: str = ""


def check_package(name: str, version: str | None, bounds: SpecifierSet | None) -> Check:
    """Whether a package is installed in a version that pyproject.toml allows.

    Args:
        name: its name in the result.
        version: the installed version; None: not installed.
        bounds: the allowed versions; None: any.
    """
    if version is None:
        return Check(name, "problem", "not installed", REINSTALL)
    if bounds is not None and not bounds.contains(version, prereleases=True):
        return Check(name, "problem", f"{version}, but {bounds} is required", REINSTALL)
    return Check(name, "ok", version)


def size(count: int) -> str:
    """A number of bytes as text, in binary units: ``3.2 GB`` (1024 ** 3)."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / 1024**2:.0f} MB"
