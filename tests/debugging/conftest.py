"""Shared by the tests of debugging: one run as everybody runs it, and one with a debugger, from the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.debugging.session import SMALLER, Session, debug
from tests.small_run import arguments, finish


class Debugged(NamedTuple):
    """A session with a debugger and the folder of its run."""

    session: Session
    out: Path


@pytest.fixture(scope="session")
def normal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without any debugger: judge and training in processes of their own."""
    out = tmp_path_factory.mktemp("normal") / "run"
    finish(arguments(out, **SMALLER))
    return out


@pytest.fixture(scope="session")
def debugged_run(tmp_path_factory: pytest.TempPathFactory) -> Debugged:
    """The same run in local mode with the transformers judge, stopped six times by a person at a terminal."""
    folder = tmp_path_factory.mktemp("debugged")
    out = folder / "run"
    return Debugged(debug(folder, arguments(out, "--local-mode", **SMALLER), terminal=True), out)
