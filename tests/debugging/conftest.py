"""Fixtures of the debugging tests: a run with a debugger, with the settings of the small run that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.debugging.session import Session, debug
from tests.small_run import arguments


class Debugged(NamedTuple):
    """A debugger session and the folder of its run."""

    session: Session
    out: Path


@pytest.fixture(scope="session")
def debugged_run(tmp_path_factory: pytest.TempPathFactory) -> Debugged:
    """A small run in local mode, stopped six times by breakpoints, with a terminal."""
    folder = tmp_path_factory.mktemp("debugged")
    out = folder / "run"
    return Debugged(debug(folder, arguments(out, "--local-mode"), terminal=True), out)
