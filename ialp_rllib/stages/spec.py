"""What a stage is, to those who drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ialp_rllib.settings import Settings


@dataclass(frozen=True)
class StageSpec:
    """One stage.

    Attributes:
        needs: the stages whose output it reads.
        settings: the part of the settings that its result depends on.
        files: patterns of the files that it writes, see :class:`ialp_rllib.storage.Stage`.
        in_parts: whether its folder holds parts (method, seed) that have manifests of their own.
        module: the module with its ``run`` function; empty: ``ialp_rllib.stages.NAME``.
        test_world: whether it may read the test world. What does not is the same whatever that world is: it depends on
            the other worlds alone.
        whole_log: whether it reads the whole log, so that it does not depend on which part of it the other stages see.
    """

    needs: Callable[[Settings], tuple[str, ...]]
    settings: Callable[[Settings], list[Any]]
    files: tuple[str, ...]
    in_parts: bool = False
    module: str = ""
    whole_log: bool = False
    test_world: bool = True
