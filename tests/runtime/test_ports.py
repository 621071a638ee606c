"""Ray that the package starts: on the loopback address, with a token that nobody else knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.conftest import REPOSITORY

# A program of its own, since the tests' process has a Ray that was started without the package.
PROGRAM = """
import json, os
import ray
from ialp_rllib import runtime
from ialp_rllib.settings import RuntimeSettings
from benchmarks.listening_ports import METHODS, call, http_status, listening

before = dict(os.environ)
runtime.start(RuntimeSettings(cpus=1))
gcs = int(ray.get_runtime_context().gcs_address.rpartition(":")[2])
token = os.environ["RAY_AUTH_TOKEN"]

def in_task(number):
    return number, os.environ["RAY_AUTH_TOKEN"] == token

jobs = runtime.run_jobs(in_task, [(1,), (2,)])
ports = listening(os.getpid())
statuses = [call(p.port, m) for p in ports for m in METHODS if "Agent" not in p.process]
http = [(http_status(p.port), p.port) for p in ports if "DashboardAgent" in p.process]
allowed = call(gcs, METHODS[0], token), call(gcs, METHODS[0], "0" * 64)
runtime.stop()
keys = [name for name in os.environ if name.startswith("RAY_AUTH")]
left = {k for k, v in os.environ.items() if k.startswith("RAY_") and before.get(k) != v}
left -= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"}
print("\\nFOUND" + json.dumps(dict(jobs=jobs, ports=[(p.process, p.address, p.port, p.is_loopback) for p in ports],
    statuses=statuses, http=http, allowed=allowed, keys=keys, left=sorted(left), token=token)))
"""


def found() -> dict:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("\nFOUND")[1])


def test_every_port_is_on_loopback_and_refuses_who_has_no_token() -> None:
    ray = found()
    assert ray["jobs"] == [[1, True], [2, True]]
    assert {name for name, *_ in ray["ports"]} >= {"gcs_server", "raylet"}
    assert all(loopback for *_, loopback in ray["ports"]), ray["ports"]
    assert ray["allowed"] == ["OK", "UNAUTHENTICATED"]
    assert ray["statuses"].count("UNAUTHENTICATED") >= 3  # head, node, worker
    assert "OK" not in ray["statuses"]
    # 401 from the job agent, unless another Ray of this machine has its port; the metrics answer 404 or 405.
    assert {status for status, _ in ray["http"]} <= {0, 401, 404, 405}, ray["http"]
    assert ray["keys"] == [] and ray["left"] == []
