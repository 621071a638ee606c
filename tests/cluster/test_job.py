"""Jobs submitted with cluster/submit.sh to a Ray cluster of one node on the loopback address."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SMALL = [
    *("--set", "distil.sessions=16"),
    *("--set", "pretrain.critic_updates=50"),
    *("--set", "adapt.env_steps=2000"),
    *("--set", "judge.audit_prompts=32"),
    *("--set", "evaluate.episodes=20"),
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def own_processes(head: psutil.Popen, folder: Path) -> list[psutil.Process]:
    """The processes of the cluster: descendants of `ray start --block`, and those with its folder in the command."""
    processes = {head.pid: head}
    with contextlib.suppress(psutil.NoSuchProcess):
        processes |= {child.pid: child for child in head.children(recursive=True)}
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in argument for argument in process.info["cmdline"] or []):
            processes[process.pid] = process
    return list(processes.values())


def stop(processes: list[psutil.Process]) -> None:
    """Stop these processes only: `ray stop` would stop all Ray processes of the machine."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=10)
    for process in alive:  # gcs_server ignores TERM
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=10)


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Environment of a client of a running cluster. It has a token, since the GCS listens on all addresses."""
    folder = Path(tempfile.mkdtemp(prefix="ialp-", dir="/tmp"))  # short: socket paths have at most 107 characters
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    gcs, dashboard, client, metrics, agent, agent_grpc, runtime_env = free_ports(7)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "180",  # default: 30, too few on a busy machine
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "IALP_PYTHON": sys.executable,
    }
    log = folder / "head.log"
    command = [
        *(str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0", f"--temp-dir={folder}/ray"),
        *("--node-ip-address=127.0.0.1", f"--port={gcs}", f"--ray-client-server-port={client}"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        *("--object-store-memory=500000000",),
    ]
    with log.open("w") as output:
        head = psutil.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for_dashboard(environment["RAY_API_SERVER_ADDRESS"], token.read_text(), head, log)
        yield environment
    finally:
        stop(own_processes(head, folder))
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_dashboard(address: str, token: str, head: psutil.Popen, log: Path, timeout: float = 240.0) -> None:
    """Wait until the cluster accepts jobs."""
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: no proxy
    until = time.monotonic() + timeout
    while time.monotonic() < until and head.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), opener.open(request, timeout=5):
            return
        time.sleep(1)
    pytest.fail(f"the cluster did not start:\n{log.read_text()[-4000:]}")


def submit(root: Path, environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [root / "cluster" / "submit.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose `ialp run` only records its call, and exits with the code given as SCENARIO."""
    root = tmp_path / "checkout"
    (root / "cluster").mkdir(parents=True)
    shutil.copy(ROOT / "cluster" / "submit.sh", root / "cluster")
    (root / "ialp_rllib").mkdir()
    (root / "ialp_rllib" / "__init__.py").touch()
    (root / "ialp_rllib" / "cli.py").write_text(
        "import json, os, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "call = {'argv': sys.argv[1:], 'address': os.environ['RAY_ADDRESS'], 'files': sorted(os.listdir())}\n"
        "out.write_text(json.dumps(call))\n"
        "print('the job ran')\n"
        "sys.exit(int(sys.argv[2]))\n"
    )
    (root / ".venv").mkdir()
    (root / ".venv" / "large").touch()
    (root / "runs").mkdir()
    (root / "runs" / "large").touch()
    return root


def test_arguments_log_and_exit_code_of_a_job(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "call.json"
    special = ["a b", "it's", "$HOME;`id`", "x=[0,1] & {y: *}", ""]
    done = submit(checkout, environment, "0", "--out", out, *special)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the job ran" in done.stdout
    call = json.loads(out.read_text())
    assert call["argv"] == ["run", "0", "--out", str(out), *special]
    assert call["address"]
    assert call["files"] == ["cluster", "ialp_rllib"]  # without .venv and runs

    failed = submit(checkout, environment, "3", "--out", out)
    assert failed.returncode == 1, failed.stdout + failed.stderr


def test_without_the_token_nothing_is_submitted(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    without_token = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
    without_token["HOME"] = str(tmp_path)  # no ~/.ray/auth_token either
    out = tmp_path / "call.json"
    assert submit(checkout, without_token, "0", "--out", out).returncode != 0
    assert not out.exists()


def test_the_sample_runs_as_a_job(environment: dict[str, str], tmp_path: Path) -> None:
    done = submit(ROOT, environment, "sample", "--out", tmp_path / "sample", *SMALL)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert (tmp_path / "sample" / "report" / "index.html").is_file()
    assert (tmp_path / "sample" / "report" / "results.parquet").is_file()
    assert "pid=" not in done.stdout  # what workers log does not run into the lines of progress


def test_bad_input_fails_the_job(environment: dict[str, str], tmp_path: Path) -> None:
    done = submit(ROOT, environment, "no-such-scenario", "--out", tmp_path / "none")
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-4000:]
    assert "no-such-scenario" in done.stdout
