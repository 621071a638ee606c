"""Folds of a study: runs that test another part of the users each."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings
from ialp_rllib.settings.parts import of_part, parts_of
from ialp_rllib.stages.run import RunFolder


def folds_of(settings: Settings, root: Path, count: int) -> list[RunFolder]:
    """A run for each of ``count`` parts of the users, in ``root/part-N``.

    Raises:
        InputError: the test share leaves fewer parts.
    """
    parts = parts_of(settings)
    if not 1 <= count <= parts:
        raise InputError("--folds", f"is {count}", f"1 to {parts}, by catalogue.test_share")
    return [RunFolder(of_part(settings, part), root / f"part-{part}") for part in range(count)]
