"""Recommendations per second, latency and processor time of a service under load, beside a bare FastAPI echo.

    python benchmarks/serving_load.py RUN --seconds 15
    python benchmarks/serving_load.py --items 16874 --seconds 15 --cases echo service single
    python benchmarks/serving_load.py RUN --seconds 15 --cases service proxy tuned     # with Ray Serve's proxy

Real processes over loopback: `ialp serve` with its replicas and synced log, which learns nothing, and uvicorn with an
app that returns what it gets. Loads: *closed*: 64 clients ask again as soon as they are answered, so that latency is
clients over throughput; *paced*: requests of the 64 clients are due at random moments, `--rate` a second, and latency
is counted from then on; both also with feedback on each recommendation, in a request of its own, and with the next
request for items.

Cases: `service`: the default; `app`: what one replica does, without Ray beside it; `single`: one request at a time
(``http.batch=1``); `proxy`: Ray Serve's proxy takes the requests; `tuned`: the same with Ray Serve's settings for
throughput. Processor time per recommendation, of the clients and of each part of the service, says how much a core can
do, however busy the machine is otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serving_clients import Load, busy, measure

ECHO = """
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/v1/recommend")
async def echo(request: Request):
    return await request.json()
"""


APP = """
import torch
from ialp_rllib.serving.app import build_app
from ialp_rllib.serving.folder import open_service
from ialp_rllib.serving.service import Service
torch.set_num_threads(1)
folder = open_service({root!r})
app = build_app(folder, Service(folder))
"""
TUNED = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_ACCESS_LOG": "0"}
CASES: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "app": ((), {}),
    "service": ((), {}),
    "single": (("http.batch=1",), {}),
    "proxy": (("http.proxy=true",), {}),
    "tuned": (("http.proxy=true",), TUNED),
}


@contextlib.contextmanager
def running(
    words: list[str], url: str, log: Path, cwd: Path | None = None, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it answers until it has ended."""
    import urllib.error
    import urllib.request

    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, env={**os.environ, **(more or {})}
        )
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url + "/openapi.json", timeout=5).close()
                break
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()


def service(policy: Path, out: Path, port: int, *sets: str) -> list[str]:
    """The command of a service."""
    words = [sys.executable, "-m", "ialp_rllib.cli", "serve", str(policy), "--out", str(out)]
    return [*words, *(part for value in (f"http.port={port}", *sets) for part in ("--set", value))]


def mixture(policy: Path, out: Path, sets: Sequence[str]) -> None:
    """A service's folder in which all but the control arm get the mixture of an export."""
    from safetensors.torch import load_file

    from ialp_rllib.serving.artifact import BETA, read_artifact
    from ialp_rllib.serving.folder import create_service
    from ialp_rllib.serving.versions import Current, Versions

    artifact = read_artifact(policy)
    versions = Versions(create_service(out, artifact, sets).root)
    number = versions.publish(load_file(artifact.weights(BETA)), 0.5, {})
    versions.serve(Current(number, None, 0, "the export", time.time()))


def random_policy(folder: Path, items: int) -> None:
    """An exported policy of the default size with random weights."""
    import torch

    from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
    from ialp_rllib.serving.artifact import write_artifact
    from ialp_rllib.settings import AgentSettings

    agent = AgentSettings(history=21, mask_recent=-1)
    network = NetworkConfig(n_items=items, history=21, mask_recent=-1)
    torch.manual_seed(0)
    weights = [ActorCritic(network).state_dict() for _ in range(2)]
    ids = [f"i{number}" for number in range(items)]
    texts = {"method": "aialp_ap", "seed": 0, "agent": agent, "serving": {}, "network": network}
    write_artifact(folder, **texts, theta=weights[0], beta=weights[1], item_ids=ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--items", type=int, default=0, help="random weights for so many items instead of a run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, of the paced load")
    parser.add_argument("--cases", nargs="+", default=["echo", "service", "single"], choices=["echo", *CASES])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    closed = Load(args.clients, args.seconds)
    loads = {"closed": closed, "closed, feedback": closed._replace(feedback="own")}
    loads["closed, with next"] = closed._replace(feedback="next")
    loads |= {f"{args.rate:g}/s{name[6:]}": load._replace(rate=args.rate) for name, load in loads.items()}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if args.items:
            random_policy(root / "policy", args.items)
        else:
            from ialp_rllib.serving.export import export_run

            export_run(args.run.resolve(), root / "policy")
        items = json.loads((root / "policy" / "theta" / "config.json").read_text())["items"]
        url, first = f"http://127.0.0.1:{args.port}", {}
        print(busy(), flush=True)
        for case in args.cases:
            text = ECHO if case == "echo" else APP.format(root=str(root / "app"))
            (root / f"{case}_server.py").write_text(text)
            words = [sys.executable, "-m", "uvicorn", f"{case}_server:app", f"--port={args.port}"]
            words += ["--log-level=warning", "--no-access-log"]
            more: Mapping[str, str] = {}
            if case == "app":
                mixture(root / "policy", root / case, args.set)
            elif case != "echo":
                sets, more = CASES[case]
                fixed = ("learn=false", "guard.canary=0.9")  # nine of ten sessions get the mixture of the export
                words = service(root / "policy", root / case, args.port, *fixed, *sets, *args.set)
            with running(words, url, root / f"{case}.log", root, more) as server:
                for name, load in loads.items() if case != "echo" else [("closed", closed)]:
                    found = measure(args.port, load, items, server.pid)
                    first.setdefault(name, found)
                    ratio = f"{found.per_s / first[name].per_s:.2f} of {args.cases[0]}"
                    print(f"{case:8s} {name:16s} {found.text()}   {ratio}", flush=True)
        print(busy(), flush=True)


if __name__ == "__main__":
    main()
