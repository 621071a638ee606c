"""Fixtures of the debugging tests: a normal run and a run with a debugger, with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.debugging.session import SMALLER, Session, debug
from tests.small_run import arguments, finish


class Debugged(NamedTuple):
    """A debugger session and the folder of its run."""

    session: Session
    out: Path


@pytest.fixture(scope="session")
def normal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without a debugger, with judge and training in separate processes."""
    out = tmp_path_factory.mktemp("normal") / "run"
    finish(arguments(out, **SMALLER))
    return out


@pytest.fixture(scope="session")
def debugged_run(tmp_path_factory: pytest.TempPathFactory) -> Debugged:
    """The same run in local mode, stopped six times by breakpoints, with a terminal."""
    folder = tmp_path_factory.mktemp("debugged")
    out = folder / "run"
    return Debugged(debug(folder, arguments(out, "--local-mode", **SMALLER), terminal=True), out)
