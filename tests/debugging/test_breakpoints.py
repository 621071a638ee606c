"""``ialp run sample --local-mode``: a breakpoint in environment, learner or judge stops in the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_run import arguments, environment

STOPS = {f"{place}-{call}-driver" for place in ("environment", "learner", "judge") for call in (0, 1)}


def debug(python: str, out: Path, engine: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A scripted session: at each stop the debugger prints where it is, what it sees, and goes on."""
    script = Path(__file__).with_name("session.py")
    small = arguments(out, "--local-mode", judge__engine=engine, adapt__env_steps=1024, evaluate__every=1024)
    return subprocess.run(
        [python, str(script), *small],
        input="p 'STOPPED AT ' + where, len(args)\nc\n" * len(STOPS),
        env={**(env or environment()), "PYTHONPATH": str(script.parents[2])},
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], out: Path) -> None:
    stops = set(re.findall(r"STOPPED AT ([a-z0-9-]+)'", done.stdout))
    assert stops == STOPS, (done.stdout + done.stderr)[-3000:]
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (out / "report" / "index.html").is_file()


@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
def test_breakpoints_stop_in_the_drivers_terminal(engine: str, tmp_path: Path) -> None:
    check(debug(sys.executable, tmp_path / "run", engine), tmp_path / "run")
