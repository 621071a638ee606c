"""Recommendations per second and latency of a service under load, beside a bare FastAPI echo.

    python benchmarks/serving_load.py RUN --clients 64 --seconds 30
    python benchmarks/serving_load.py --items 16874 --clients 64 --seconds 30       # random weights, a larger catalogue

Real processes over loopback: `ialp serve` with its replicas, proxy and synced log, which learns nothing, and uvicorn
with an app that returns what it gets. The clients, in a process of their own, keep a connection each and ask one
request after the other; sessions have ten steps. Printed are requests per second, p50 and p99 of the recommendations,
and the ratio to the echo: batched, one request at a time (``http.batch=1``), and batched with feedback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

ECHO = """
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/v1/recommend")
async def echo(request: Request):
    return await request.json()
"""


async def load(url: str, clients: int, seconds: float, items: list[str], feedback: bool) -> dict[str, float]:
    """Ask for ``seconds``; the first fifth is not counted."""
    took: list[float] = []
    failed, count = 0, 0
    begins = time.perf_counter() + seconds / 5
    ends = begins + seconds

    async def post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal failed, count
        began = time.perf_counter()
        try:
            async with session.post(f"{url}{path}", json=body, timeout=aiohttp.ClientTimeout(total=30)) as answer:
                found = await answer.json()
                now = time.perf_counter()
                if answer.status != 200:
                    failed += 1
                    return None
                if path == "/v1/recommend" and begins <= began and now <= ends:
                    took.append(now - began)
                return dict(found)
        except (TimeoutError, aiohttp.ClientError):
            failed += 1
            return None

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        rng = np.random.default_rng(number)
        while time.perf_counter() < ends:
            name, shown = uuid.uuid4().hex, [items[int(rng.integers(len(items)))]]
            for step in range(10):
                answer = await post(session, "/v1/recommend", {"session": name, "items": shown})
                if answer is None or "decision" not in answer:
                    continue
                shown.append(answer["items"][0])
                if feedback:
                    ended = "limit" if step == 9 else ""
                    await post(session, "/v1/feedback", {"decision": answer["decision"], "reward": 0, "ended": ended})

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(client(session, number) for number in range(clients)))
    milliseconds = 1e3 * np.array(took or [float("nan")])
    return {
        "per_s": len(took) / seconds,
        "p50": float(np.percentile(milliseconds, 50)),
        "p99": float(np.percentile(milliseconds, 99)),
        "failed": failed,
    }


def _load(queue: Any, *arguments: Any) -> None:
    queue.put(asyncio.run(load(*arguments)))


def loaded(*arguments: Any) -> dict[str, float]:
    """:func:`load` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_load, args=(queue, *arguments))
    process.start()
    found: dict[str, float] = queue.get()
    process.join()
    return found


@contextlib.contextmanager
def running(words: list[str], url: str, log: Path, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it answers until it has ended."""
    import urllib.error
    import urllib.request

    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, cwd=cwd)
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
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if args.items:
            random_policy(root / "policy", args.items)
        else:
            from ialp_rllib.serving.export import export_run

            export_run(args.run.resolve(), root / "policy")
        items = json.loads((root / "policy" / "theta" / "config.json").read_text())["items"]
        url = f"http://127.0.0.1:{args.port}"
        (root / "echo.py").write_text(ECHO)
        words = [sys.executable, "-m", "uvicorn", "echo:app", "--port", str(args.port), "--log-level", "warning"]
        with running(words, url, root / "echo.log", root):
            echo = loaded(url, args.clients, args.seconds, items, False)
        print(f"{'bare FastAPI echo':28s} {_text(echo)}", flush=True)
        cases = {"batched": ((), False), "one at a time": (("http.batch=1",), False), "with feedback": ((), True)}
        for name, (sets, feedback) in cases.items():
            # the promoted version is the mixture of the export, for all sessions but the control arm's
            command = service(root / "policy", root / name, args.port, "learn=false", *sets, *args.set)
            with running(command, url, root / "service.log"):
                found = loaded(url, args.clients, args.seconds, items, feedback)
            print(f"{name:28s} {_text(found)}   {found['per_s'] / echo['per_s']:.2f} of the echo", flush=True)


def _text(found: dict[str, float]) -> str:
    return (
        f"{found['per_s']:7.1f} /s   p50 {found['p50']:6.1f} ms   p99 {found['p99']:6.1f} ms   {found['failed']} failed"
    )


if __name__ == "__main__":
    main()
