"""A scripted debugger session: ``ialp`` with breakpoints in the judge, the learner and the environment."""

from __future__ import annotations

import ast
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from tests.small_run import environment

SECONDS = 1500  # time limit of a session, in case it hangs; a busy machine takes many times as long

# `breakpoint()` at the first call of a method, `pdb.set_trace()` at the second.
DRIVER = '''
"""``ialp``, stopping at the first two calls of three methods after Ray has started (users are fitted before)."""

import functools
import itertools
import pdb

import ray

from ialp_rllib.agent.rllib.learner import IALPLearner
from ialp_rllib.cli import main as cli
from ialp_rllib.judge.engines.choose import TransformersEngine, VllmEngine
from ialp_rllib.users.env import UserVectorEnv


def stop_twice(cls, name):
    function, calls = getattr(cls, name), itertools.count(1)

    @functools.wraps(function)
    def stopping(*args, **kwargs):
        call = next(calls) if ray.is_initialized() else 0
        if call == 1:
            breakpoint()
        elif call == 2:
            pdb.set_trace()
        return function(*args, **kwargs)

    setattr(cls, name, stopping)


stop_twice(TransformersEngine, "ask")
stop_twice(VllmEngine, "ask")
stop_twice(IALPLearner, "compute_loss_for_module")
stop_twice(UserVectorEnv, "step")
cli.main()
'''

# At a stop: print the location, step into the method, print variables, go up past the driver to the caller, continue.
# The markers are split in two strings, so that the terminal's echo of a command is not mistaken for its output.
WHERE = 'p "AT-" "STOP", function.__qualname__, call, __import__("os").getpid()'
LOOK = (
    'p "INSIDE-" "IT", type(self).__name__, type(prompts[0]).__name__',
    'p "INSIDE-" "IT", type(self).__name__, tuple(batch["obs"].shape)',
    'p "INSIDE-" "IT", type(self).__name__, tuple(actions.shape)',
)
CALLER = 'p "CALLED-" "FROM", __name__'
SCRIPT = [command for look in LOOK for _ in range(2) for command in (WHERE, "step", look, "up 2", CALLER, "continue")]
ANSWER = re.compile(r"\('(?:AT-STOP|INSIDE-IT|CALLED-FROM)',.*\)")


class Stop(NamedTuple):
    """Output of the debugger at a stop.

    Attributes:
        method: qualified name of the method about to be called.
        call: 1 for ``breakpoint()``, 2 for ``pdb.set_trace()``.
        pid: the process that stopped.
        inside: class of ``self`` and type or shape of an argument, inspected inside the method.
        caller: module of the caller.
    """

    method: str
    call: int
    pid: int
    inside: tuple[Any, ...]
    caller: str


class Session(NamedTuple):
    """A finished session."""

    pid: int
    returncode: int
    output: str

    def stops(self) -> list[Stop]:
        """The stops, in order."""
        answers = [ast.literal_eval(text)[1:] for text in ANSWER.findall(self.output)]
        assert len(answers) % 3 == 0, self.output[-5000:]
        return [
            Stop(*where, inside, caller[0])
            for where, inside, caller in zip(answers[::3], answers[1::3], answers[2::3], strict=True)
        ]


def debug(folder: Path, args: list[str], *, terminal: bool, python: str = sys.executable) -> Session:
    """Run ``ialp`` with the breakpoints, and answer every prompt of the debugger.

    Args:
        folder: folder for the driver script.
        args: arguments of ``ialp``.
        terminal: whether to communicate through a pseudo-terminal instead of pipes.
        python: the interpreter.
    """
    driver = folder / "driver.py"
    driver.write_text(DRIVER)
    commands, output, answered = iter(SCRIPT), b"", 0
    deadline = time.monotonic() + SECONDS
    with _started([python, str(driver), *args], terminal) as (process, read, write):
        while True:
            if select.select([read], [], [], 0.2)[0]:
                chunk = _read(read)
                output += chunk
                if not chunk:
                    break
            elif process.poll() is not None:
                break
            if b"(Pdb) " in output[answered:]:
                answered = len(output)
                os.write(write, next(commands, "quit").encode() + b"\n")
            assert time.monotonic() < deadline, "the session hangs:\n" + output.decode(errors="replace")[-5000:]
        process.wait(60)
    return Session(process.pid, process.returncode, output.decode(errors="replace").replace("\r\n", "\n"))


@contextmanager
def _started(command: list[str], terminal: bool) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A process, and file descriptors to read from it and to write to it. It is killed at the end of the context."""
    controller, terminal_end = pty.openpty() if terminal else (-1, -1)
    stream = terminal_end if terminal else subprocess.PIPE
    process = subprocess.Popen(
        command,
        env=environment(),
        stdin=stream,
        stdout=stream,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )
    try:
        if process.stdout and process.stdin:
            yield process, process.stdout.fileno(), process.stdin.fileno()
        else:
            os.close(terminal_end)
            yield process, controller, controller
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if terminal:
            os.close(controller)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _read(descriptor: int) -> bytes:
    """The available output; empty at the end."""
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # raised by Linux if the other end of a terminal is closed
        return b""


def run_script(
    folder: Path, script: str, args: list[str], *, seconds: float = SECONDS, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run a script that starts ``ialp``, without standard input; it fails if it takes longer than ``seconds``."""
    driver = folder / "driver.py"
    driver.write_text(script)
    return subprocess.run(
        [python, str(driver), *args],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def check(session: Session, out: Path, engine: str) -> None:
    """Assert that all six stops happened in the started process, and that the run finished."""
    kind = {"transformers": "TransformersEngine", "vllm": "VllmEngine"}[engine]
    assert session.returncode == 0, session.output[-5000:]
    stops = session.stops()
    assert [(stop.method, stop.call) for stop in stops] == [
        (method, call)
        for method in (f"{kind}.ask", "IALPLearner.compute_loss_for_module", "UserVectorEnv.step")
        for call in (1, 2)
    ], session.output[-5000:]
    assert {stop.pid for stop in stops} == {session.pid}
    judge, learner, users = stops[1], stops[2], stops[4]  # the judge's first call is the one in which it is loaded
    assert judge.inside == (kind, "str") and judge.caller == "ialp_rllib.judge.actor"
    assert learner.inside == ("IALPLearner", (32, 22)) and learner.caller.startswith("ray.rllib.core.learner")
    # The first step is one of the 40 episodes at each of five temperatures, in the validation world.
    assert users.inside == ("UserVectorEnv", (200,)) and users.caller.startswith("ialp_rllib.agent.rllib."), users
    assert (out / "report" / "index.html").is_file()


def results(out: Path) -> pd.DataFrame:
    """The results of a run without times."""
    return pq.read_table(out / "report" / "results.parquet").to_pandas().drop(columns="seconds")
