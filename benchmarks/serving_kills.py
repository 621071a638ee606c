"""Does a service lose or learn twice what it acknowledged when its processes are killed at random moments?

    python benchmarks/serving_kills.py RUN --kills 100                     # replicas, learner and the whole service
    python benchmarks/serving_kills.py RUN --kills 0 --learner-kills 20    # the same log with and without kills

A kill is SIGKILL to a replica, to the learner, or to the whole service (Ray's node and the command, which is then
started again), in turns, while clients ask and give feedback. Afterwards the clients stop, the learner reads to the
end, and: every acknowledged decision and feedback must be in the log, and every shown decision in the sealed log once.
Failed requests are counted without the time in which the whole service is down; with ``--retries 2`` none may fail.

``--learner-kills`` lets the learner alone read a finished log, once undisturbed and once killed at random moments and
started again, and compares the weights to the bit; without ``--log`` and kills, the log of clients that ask for the
longer of the ``--between`` seconds. Exit code 1 if anything is lost, learnt twice, or differs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pyarrow.parquet as pq
from serving_load import service
from serving_process import Command

from ialp_rllib.serving.log import Tail

KINDS = ("replica", "learner", "service")
WORDS = {"replica": "ServeReplica", "learner": "LearnerActor"}

PROGRAM = """
import sys, torch
torch.set_num_threads(1)
import ialp_rllib.serving.learner as module
from ialp_rllib.serving.folder import open_service
from safetensors.torch import save_file
module._FEEDBACK_ROWS = 200
learner = module.ServiceLearner(open_service(sys.argv[1]), lambda: float(sys.argv[2]))
print("reads", flush=True)
while True:
    before = dict(learner._feedback.cursor)
    learner.turn()
    if learner._feedback.cursor == before:
        break
save_file(learner.learner.weights(), sys.argv[3])
print(learner.learner.env_steps, learner.learner.updates)
"""


class Clients:
    """Ask and give feedback until they are told to stop; remember what was acknowledged."""

    def __init__(self, url: str, count: int, items: list[str], retries: int) -> None:
        self.url, self.count, self.items, self.retries = url, count, items, retries
        self.decisions: list[str] = []
        self.feedback: list[str] = []
        self.made, self.failed, self.tries_failed = 0, 0, 0
        self.stop, self.down = threading.Event(), threading.Event()

    async def run(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._client(session, number) for number in range(self.count)))

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        while self.down.is_set() and not self.stop.is_set():
            await asyncio.sleep(0.2)
        for left in range(self.retries, -1, -1):
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, json.JSONDecodeError):
                async with session.post(self.url + path, json=body, timeout=aiohttp.ClientTimeout(total=60)) as answer:
                    if answer.status == 200:
                        self.made += 1
                        return dict(await answer.json())
            if self.down.is_set():  # the whole service is down: neither made nor failed
                return None
            self.tries_failed += 1
            if left:
                await asyncio.sleep(0.5)
        self.made, self.failed = self.made + 1, self.failed + 1
        return None

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        rng = random.Random(number)
        while not self.stop.is_set():
            name, shown = uuid.uuid4().hex, [rng.choice(self.items)]
            for step in range(10):
                answer = await self._post(session, "/v1/recommend", {"session": name, "items": shown})
                if answer is None:
                    continue
                self.decisions.append(answer["decision"])
                shown.append(answer["items"][0])
                ended = "limit" if step == 9 else ""
                body = {"decision": answer["decision"], "reward": 0, "ended": ended}
                if await self._post(session, "/v1/feedback", body):
                    self.feedback.append(answer["decision"])
                if self.stop.is_set():
                    return


def kill(command: Command, kind: str, clients: Clients, url: str) -> bool:
    """One kill; returns whether there was something to kill."""
    if kind == "service":
        clients.down.set()
        command.kill_all()
        command.start()
        command.wait_ready(url)
        clients.down.clear()
        return True
    found = command.children(WORDS[kind])
    if not found:
        return False
    with contextlib.suppress(psutil.Error):
        random.choice(found).kill()
    return True


def check(root: Path, clients: Clients) -> list[str]:
    """What is wrong after a run with kills."""
    problems = []
    logged = Counter(row["id"] for row in Tail(root / "log" / "decisions").read(10**9))
    answered = Counter(row["decision"] for row in Tail(root / "log" / "feedback").read(10**9))
    lost = [name for name in clients.decisions if not logged[name]]
    lost_feedback = [name for name in clients.feedback if not answered[name]]
    if lost or lost_feedback:
        problems.append(f"{len(lost)} acknowledged decisions and {len(lost_feedback)} feedbacks are lost")
    parts = sorted((root / "log" / "sealed").glob("*.parquet"))
    sealed = Counter(pq.read_table(parts)["decision"].to_pylist())
    twice = [name for name, count in sealed.items() if count > 1]
    missing = [name for name in clients.feedback if not sealed[name]]
    if twice or missing:
        problems.append(f"{len(twice)} decisions are sealed twice, {len(missing)} with feedback are not")
    print(
        f"{len(clients.decisions)} decisions and {len(clients.feedback)} feedbacks acknowledged, {len(sealed)} sealed; "
        f"{clients.failed} of {clients.made} requests failed ({clients.failed / max(clients.made, 1):.2%}), "
        f"{clients.tries_failed} tries"
    )
    return problems


def under_load(policy: Path, root: Path, args: argparse.Namespace) -> list[str]:
    """Kills while clients ask."""
    url = f"http://127.0.0.1:{args.port}"
    sets = [f"http.replicas={args.replicas}", "checkpoint_seconds=3", "feedback.session_timeout=15"]
    command = Command(
        service(policy, root, args.port, *sets, "feedback.feedback_timeout=10"), root.parent / "serve.log"
    )
    items = json.loads((policy / "theta" / "config.json").read_text())["items"]
    clients = Clients(url, args.clients, items, args.retries)
    done: Counter[str] = Counter()
    try:
        command.wait_ready(url)
        thread = threading.Thread(target=lambda: asyncio.run(clients.run()), daemon=True)
        thread.start()
        kinds = args.kinds.split(",")
        while sum(done.values()) < args.kills:
            time.sleep(random.uniform(*args.between))
            kind = kinds[sum(done.values()) % len(kinds)]
            done[kind] += kill(command, kind, clients, url)
            print(f"kill {sum(done.values())} of {args.kills}: {kind}", file=sys.stderr, flush=True)
        time.sleep(args.between[1])
        clients.stop.set()
        thread.join(120)
        _let_it_read(root, command, url, args.settle)
        command.process.send_signal(signal.SIGTERM)
        command.process.wait(300)
    finally:
        if command.process.poll() is None:
            command.kill_all()
    print(f"kills: {dict(done)}")
    return check(root, clients)


def _let_it_read(root: Path, command: Command, url: str, seconds: float) -> None:
    """Wait until nothing is open in the learner."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(2)
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((root / "status.json").read_text())
            if time.time() - state["time"] < 10 and state["learner"]["open"] == 0:
                return
    print("the learner still waits for some decisions", file=sys.stderr)


def _reading(words: list[str]) -> subprocess.Popen[str]:
    """The learner's process, once it has loaded what it has and reads on."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "reads\n":
        raise RuntimeError(f"the learner ended with exit code {process.wait()} before it read")
    return process


def learner_kills(root: Path, count: int, seed: int) -> list[str]:
    """The learner alone on the finished log, undisturbed and killed: equal weights?"""
    rng = random.Random(seed)
    results, now = [], str(time.time() + 1e6)
    for kills in (0, count):
        copy = root.parent / f"copy-{kills}"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns("learner", "versions", "sealed", "current.json"))
        text = json.loads((copy / "service.json").read_text())
        text["overrides"] += ["checkpoint_seconds=0"]
        (copy / "service.json").write_text(json.dumps(text))
        words = [sys.executable, "-c", PROGRAM, str(copy), now, str(copy / "weights.safetensors")]
        for _ in range(kills):
            with _reading(words) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0, results[0][1] / count))
                    raise RuntimeError("the learner was at the end of the log before its kill: a longer log is needed")
                process.kill()
        with _reading(words) as process:
            began = time.monotonic()
            out = process.communicate()[0].strip()
        if process.returncode:
            raise RuntimeError(f"the learner ended with exit code {process.returncode}")
        results.append((out, time.monotonic() - began, (copy / "weights.safetensors").read_bytes()))
        print(f"learner {f'killed {kills} times' if kills else 'undisturbed'}: steps, updates {out}")
    return [] if results[0][2] == results[1][2] else ["the killed learner ends with other weights"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--between", type=float, nargs=2, default=(3.0, 12.0), help="seconds between two kills")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--retries", type=int, default=0)
    parser.add_argument("--settle", type=float, default=120.0, help="seconds for the learner to read to the end")
    parser.add_argument("--learner-kills", type=int, default=0)
    parser.add_argument("--log", type=Path, help="folder of a service whose log the learner is killed on")
    parser.add_argument("--port", type=int, default=8124)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        from ialp_rllib.serving.export import export_run

        policy, root = Path(folder) / "policy", Path(folder) / "service"
        export_run(args.run.resolve(), policy)
        if args.kills or not args.log:
            problems += under_load(policy, root, args)
        if args.learner_kills:
            if args.log:
                shutil.copytree(args.log, root)
            problems += learner_kills(root, args.learner_kills, args.seed)
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
