"""A small run of the sample: all stages, each taking seconds."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

SMALL = {
    "users.sequence.epochs": 1,
    "judge.engine": "transformers",
    "judge.audit_prompts": 32,
    "judge.batch": 32,
    "judge.tune.interactions": 32,
    "judge.tune.epochs": 1,
    "distil.sessions": 64,
    "distil.steps": 6,
    "distil.batch": 32,
    "pretrain.updates": 40,
    "pretrain.critic_updates": 60,
    "pretrain.listwise.epochs": 3,
    "pretrain.listwise.temperatures": [1.0],  # users act online only
    "pretrain.log_every": 20,
    "pretrain.checkpoint_every": 20,
    "adapt.methods": "[a2c, aialp_ap]",
    "adapt.env_steps": 2500,
    "adapt.log_every": 256,
    "adapt.checkpoint_every": 512,
    "evaluate.episodes": 40,
    "evaluate.every": 1000,
    "agent.dim": 16,
    "agent.batch": 32,
}


def arguments(out: Path, *more: str, verb: str = "run", **settings: object) -> list[str]:
    """Arguments of ``ialp`` for a small run of the sample in ``out``; ``a__b=c`` overrides the setting ``a.b``."""
    values = {**SMALL, **{k.replace("__", "."): v for k, v in settings.items()}}
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return [verb, "sample", "--out", str(out), *sets, *more]


def environment() -> dict[str, str]:
    """The environment of this process without the address of a cluster, and offline."""
    return {**{k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}, "HF_HUB_OFFLINE": "1"}


def start(args: list[str], **options: object) -> subprocess.Popen[str]:
    """Start ``ialp`` in a subprocess."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "ialp_rllib.cli", *args],
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        **options,
    )


def finish(args: list[str]) -> str:
    """Run ``ialp`` and return its output; it must succeed."""
    process = start(args)
    output, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, output[-3000:]
    return output


def kill_when(args: list[str], ready: Callable[[], bool]) -> None:
    """Start a run and kill it with SIGKILL as soon as ``ready`` returns true; its Ray processes end with it."""
    process = start(args)
    deadline = time.time() + 1200
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.time() < deadline
        time.sleep(0.02)
    of_ray = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(of_ray, timeout=60)  # they notice the end of their parent


def copy_stages(source: Path, out: Path, *stages: str) -> None:
    """Copy finished stages into another run, where they are up to date if its settings for them are the same."""
    for stage in stages:
        shutil.copytree(source / stage, out / stage)


def once_for_all(factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small run, made by the first process of tests that needs it; not to be changed."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    out = root / "small-run"
    with (root / "small-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "report" / "index.html").is_file():
            finish(arguments(out))
    return out
