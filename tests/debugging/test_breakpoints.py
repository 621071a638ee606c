"""``--local-mode``: breakpoints in the judge, the learner and the environment open in the terminal."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.debugging.session import check, debug
from tests.small_run import arguments


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "terminal"), [("transformers", False), ("vllm", True), ("vllm", False)])
def test_breakpoints_stop_with_every_engine_and_through_pipes(engine: str, terminal: bool, tmp_path: Path) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    out = tmp_path / "run"
    args = arguments(out, "--local-mode", judge__engine=engine)
    check(debug(tmp_path, args, terminal=terminal), out, engine)
