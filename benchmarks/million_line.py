"""The whole line at a large catalogue: time and peak memory of each stage, on candidates (``agent.candidates``).

    python benchmarks/million_line.py [--items 1000000] [--events 10000000] [--index exact] [--candidates 1000]
        [--out FOLDER] [--methods warm ialp aialp_ap] [--set KEY=VALUE ...]

Writes a made-up catalogue and log as Parquet (ids as numbers; 100 tastes, items of a taste by a power law, 20 events
per user, 80% of them of its own taste), and runs the stages one by one, each in a process of its own, with a judge
that knows popularity alone and with few prompts, passes and steps: what is measured is cost, not quality. Where
A-iALP_ap is among the methods, it is exported, and a service answers batches of 32 sessions, in one process and
without HTTP; milliseconds are medians of 20 batches. Peak memory
is that of all processes of the stage together, private pages of each (Ray's included), looked at twice a second. With
``--out`` the folder is kept, and a stage that is up to date is not run again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

PER_USER, TASTES, OWN = 20, 100, 0.8
_BLOCK = 1 << 20


def write_data(folder: Path, items: int, events: int, seed: int = 0) -> None:
    """``items.parquet`` and ``interactions.parquet``."""
    rng = np.random.default_rng(seed)
    tastes = min(TASTES, max(1, items // 100))
    pq.write_table(pa.table({"item_id": np.arange(items)}), folder / "items.parquet")
    shuffled, each = rng.permutation(items), items // tastes
    schema = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("position", pa.int64())])
    with pq.ParquetWriter(folder / "interactions.parquet", schema) as writer:
        for start in range(0, events, _BLOCK):
            row = np.arange(start, min(start + _BLOCK, events))
            user = row // PER_USER
            own = rng.random(len(row)) < OWN
            taste = np.where(own, user * 7919 % tastes, rng.integers(tastes, size=len(row)))
            rank = (each * rng.random(len(row)) ** 3).astype(np.int64)
            columns = {"user_id": user, "item_id": shuffled[taste * each + rank], "position": row % PER_USER}
            writer.write_table(pa.table(columns, schema=schema))


def scenario(folder: Path, options: argparse.Namespace) -> Path:
    """The settings of the run."""
    batch = 512 if options.items <= 100_000 else 16_384
    settings = {
        "scenario": "million_line",
        "catalogue": {"source": "files", "data": str(folder / "data"), "attributes": []},
        "users": {"world": "sequence", "horizon": 20, "sequence": {"batch": batch, "epochs": 1}},
        "judge": {"model": "popularity"},
        "distil": {"sessions": 512, "steps": 5},
        "agent": {
            "history": 21,
            "mask_recent": -1,
            "candidates": {"count": options.candidates, "index": options.index, "rebuild": 40},
        },
        "warm": {"epochs": 1, "batch": 1024, "temperatures": [1.0]},
        "pretrain": {"loss": "listwise", "updates": 20, "listwise": {"epochs": 2, "temperatures": [1.0]}},
        "adapt": {"methods": options.methods, "env_steps": 1920, "epoch_steps": 640},
        "evaluate": {"episodes": 64, "every": 100_000, "temperatures": [1.0]},
    }
    path = folder / "million_line.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


class Memory:
    """The most memory that a process and all that it started had together."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self.peak, self.largest = process, 0, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            sizes = [0]
            try:
                for one in [self._process, *self._process.children(recursive=True)]:
                    info = one.memory_info()
                    sizes.append(info.rss - info.shared)
            except psutil.NoSuchProcess:
                continue
            self.peak, self.largest = max(self.peak, sum(sizes)), max(self.largest, *sizes)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


CLI = (sys.executable, "-c", "from ialp_rllib.cli.main import main; main()")

SERVE = """
import statistics, sys, time
from pathlib import Path
import numpy as np, torch
from ialp_rllib.serving.artifact import read_artifact
from ialp_rllib.serving.folder import create_service
from ialp_rllib.serving.service import Ask, Service
torch.set_num_threads(1)
artifact = read_artifact(Path(sys.argv[1]))
service = Service(create_service(Path(sys.argv[2]), artifact))
rng, times = np.random.default_rng(0), []
for turn in range(21):
    shown = [[str(item) for item in row] for row in rng.integers(int(sys.argv[3]), size=(32, 5))]
    asks = [Ask(f"{turn}-{n}", items) for n, items in enumerate(shown)]
    began = time.process_time()
    found = service.decide(asks)
    times.append(time.process_time() - began)
    assert all(one is not None for one in found), "not stored"
print(f"32 sessions in {1000 * statistics.median(times[1:]):.0f} ms of processor")
"""


def run_stage(name: str, path: Path, out: Path, overrides: list[str]) -> tuple[float, Memory]:
    """Seconds and memory of one stage."""
    command = [*CLI, name, str(path), "--out", str(out)]
    for text in overrides:
        command += ["--set", text]
    return run_process(name, command, out.parent)


def run_process(name: str, command: list[str], folder: Path) -> tuple[float, Memory]:
    """Seconds and memory of one process, whose output goes to ``folder/NAME.log``."""
    began = time.perf_counter()
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        memory = Memory(psutil.Process(process.pid))
        status = process.wait()
    memory.stop()
    if status:
        sys.exit(f"{name} failed: see {folder / name}.log")
    return time.perf_counter() - began, memory


def measure(folder: Path, options: argparse.Namespace) -> None:
    began = time.perf_counter()
    if not (folder / "data" / "interactions.parquet").is_file():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_data(folder / "data", options.items, options.events)
    path = scenario(folder, options)
    print(f"{options.items:,} items, {options.events:,} events, {options.candidates:,} candidates ({options.index})")
    print(f"data written in {time.perf_counter() - began:.0f} s\n")
    print("| stage | seconds | peak GB, all processes | largest process, GB |\n|---|---:|---:|---:|")
    stages = ["prepare", "users"]
    stages += ["warm"] if any(name.startswith("warm") for name in options.methods) else []
    stages += ["distil", "pretrain"] if any("ialp" in name for name in options.methods) else []
    for name in [*stages, "adapt"]:
        seconds, memory = run_stage(name, path, folder / "run", options.overrides)
        print(f"| {name} | {seconds:.0f} | {memory.peak / 2**30:.1f} | {memory.largest / 2**30:.1f} |", flush=True)
    if "aialp_ap" in options.methods:
        for name in ("policy", "service"):
            shutil.rmtree(folder / name, ignore_errors=True)
        run, policy = str(folder / "run"), str(folder / "policy")
        serve = [sys.executable, "-c", SERVE, policy, str(folder / "service"), str(options.items)]
        for name, command in {
            "export": [*CLI, "export", run, "--method", "aialp_ap", "--seed", "0", "--out", policy],
            "serve": serve,
        }.items():
            seconds, memory = run_process(name, command, folder)
            print(f"| {name} | {seconds:.0f} | {memory.peak / 2**30:.1f} | {memory.largest / 2**30:.1f} |", flush=True)
        print((folder / "serve.log").read_text().strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--index", choices=("exact", "faiss"), default="exact")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--methods", nargs="+", default=["random", "popularity", "warm", "ialp", "aialp_ap"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        measure(options.out.resolve(), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
