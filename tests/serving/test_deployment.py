"""A service on Ray: `ialp serve` answers over HTTP, and a killed replica or learner loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from ialp_rllib.serving.client import Client
from ialp_rllib.serving.log import Tail
from tests.processes import children
from tests.serving.small import ITEMS, make_artifact
from tests.small_run import environment


def wait_for(what: str, ready: object, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.slow
def test_a_service_survives_its_killed_processes(tmp_path: Path) -> None:
    root, port = tmp_path / "service", free_port()
    make_artifact(tmp_path / "policy")
    sets = [f"http.port={port}", "checkpoint_seconds=1", "publish_updates=5", "poll=0.2"]
    sets += ["guard.sessions=3", "guard.canary=0.45", "guard.control=0.1"]
    words = [sys.executable, "-m", "ialp_rllib.cli", "serve", str(tmp_path / "policy"), "--out", str(root)]
    words += [part for value in sets for part in ("--set", value)]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(words, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    client, acknowledged = Client(f"http://127.0.0.1:{port}", retries=10), []

    def answers() -> bool:
        try:
            Client(f"http://127.0.0.1:{port}", retries=0).recommend("ready", [])
        except OSError:
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            return False
        return True

    def play(sessions: int, prefix: str) -> None:
        for number in range(sessions):
            items = [ITEMS[0]]
            for step in range(3):
                shown = client.recommend(f"{prefix}-{number}", items)
                client.feedback(shown["decision"], 1.0, "left" if step == 2 else "")
                acknowledged.append(shown["decision"])
                items += shown["items"]

    try:
        wait_for("the service answers", answers)
        play(10, "first")
        for word in ("ServeReplica", "LearnerActor"):
            found: list[psutil.Process] = []
            wait_for(word, lambda word=word, found=found: found.extend(children(process.pid, word)) or found)
            found[0].kill()
            play(10, word)
        status = root / "status.json"
        wait_for(
            "the restarted learner has read all",
            lambda: status.is_file() and json.loads(status.read_text())["learner"]["env_steps"] >= 88,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)
    assert process.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert {row["id"] for row in Tail(root / "log" / "decisions").read()} >= set(acknowledged)
    sealed = pq.read_table(sorted((root / "log" / "sealed").glob("*.parquet")))["decision"].to_pylist()
    assert sorted(sealed) == sorted(acknowledged)
    assert "Service" in (root / "index.html").read_text()
