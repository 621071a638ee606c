"""Does `ialp run`, killed at a random moment of any stage and started again, end with the tables of an undisturbed run?

    python benchmarks/kills.py --kills 100        # about 20 minutes on two idle cores
    python benchmarks/kills.py --kills 0 --poison --two

A kill is SIGKILL to the real command, at a moment drawn uniformly over the duration of one stage; stages take turns. It
starts from a copy of a finished run without that stage and the later ones. Every second kill is followed by another
one while the run resumes. Then the same command must end the run, and all tables, the policies and the list of files
must be those of the undisturbed run, to the bit, but for seconds. A run that ends before its kill is not counted, and
tried again.

``--poison`` puts pickles that would write a file when they are read into the checkpoints of a killed run. ``--two``
starts a second run in a folder in which one works. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from watched_runs import LIMIT, STAGES, Watched, differences, results

SMALL = {
    "users.sequence.epochs": 1,
    "judge.engine": "transformers",
    "judge.audit_prompts": 16,
    "judge.tune.interactions": 32,
    "judge.tune.epochs": 1,
    "judge.tune.checkpoint_every": 1,
    "judge.allow_chance": "true",
    "distil.sessions": 48,
    "distil.steps": 6,
    "distil.batch": 8,
    "pretrain.critic_updates": 60,
    "pretrain.log_every": 10,
    "pretrain.checkpoint_every": 10,
    "adapt.methods": "[a2c, warm, aialp_ap, ialp_log]",
    "adapt.env_steps": 3000,
    "adapt.log_every": 128,
    "adapt.checkpoint_every": 256,
    "adapt.epoch_steps": 600,
    "evaluate.episodes": 16,
    "evaluate.every": 1000,
    "agent.dim": 16,
}


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ialp_rllib.cli", "run", "sample", "--out", str(out)]
    return subprocess.Popen(
        [*command, *(part for key, value in SMALL.items() for part in ("--set", f"{key}={value}"))],
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )


def finish(out: Path) -> str:
    """Run to the end; its output."""
    process = start(out)
    text, _ = process.communicate(timeout=LIMIT)
    if process.returncode:
        raise RuntimeError(f"the run ended with code {process.returncode}: {text[-2000:]}")
    return text


def undisturbed(out: Path) -> dict[str, float]:
    """A whole run; the seconds of every stage."""
    finish(out)
    return {name: json.loads((out / name / "manifest.json").read_text())["seconds"] for name in STAGES}


def kill_in(stage: str, source: Path, out: Path, times: dict[str, float], rng: random.Random, twice: bool) -> int:
    """Copy the run without ``stage`` and the later ones, run, and kill it in that stage; the number of kills made."""
    shutil.copytree(source, out)
    for name in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(out / name)
    run = Watched(start(out))
    after = rng.uniform(0, times[stage])
    in_stage = run.wait(lambda: run.shows(stage))
    until = time.perf_counter() + after
    alive = in_stage and run.wait(lambda: time.perf_counter() >= until)
    taken = time.perf_counter() - run.began
    run.kill()
    if not alive or not twice:
        return int(alive)
    run = Watched(start(out))
    until = run.began + rng.uniform(0.2, 1.0) * taken
    alive = run.wait(lambda: time.perf_counter() >= until)
    run.kill()
    return 1 + alive


def trial(number: int, source: Path, expected: dict[str, Any], times: dict[str, float], seed: int) -> tuple[int, str]:
    """Number of kills, and what was wrong after the run was resumed: nothing, files, or an error."""
    rng = random.Random(f"{seed}/{number}")
    stage = STAGES[number % len(STAGES)]
    for _ in range(5):
        with tempfile.TemporaryDirectory(prefix="kill") as name:
            out = Path(name) / "run"
            kills = kill_in(stage, source, out, times, rng, twice=number // len(STAGES) % 2 == 1)
            if not kills:
                continue
            try:
                finish(out)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                return kills, str(error)
            return kills, ", ".join(differences(out, expected))
    return 0, ""


class Poison:
    """Reading it as a pickle writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def poisoned(source: Path, expected: dict[str, Any], folder: Path) -> str:
    """What is wrong with a run whose checkpoints were poisoned; nothing, if all is well."""
    out, ran = folder / "poisoned", folder / "ran"
    poison = pickle.dumps(Poison(ran))
    shutil.copytree(source, out)
    for name in STAGES[STAGES.index("pretrain") :]:
        shutil.rmtree(out / name)
    for stage in ("pretrain", "adapt"):
        run = Watched(start(out))
        written = run.wait(lambda s=stage: len(list((out / s).rglob("checkpoint-*/manifest.json"))) >= 2)
        run.kill(all_of_it=True)  # a training that goes on a while would end, and delete its checkpoints
        places = [path.parent for path in (out / stage).rglob("checkpoint-*/manifest.json")]
        if not written or not places:
            return f"no checkpoints were found in {stage}"
        for place in places:
            for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl", "state.pkl"):
                (place / name).write_bytes(poison)
        old = places[0].with_name("checkpoint-999999999999")  # as an earlier version wrote them
        (old / "learner_group").mkdir(parents=True)
        (old / "learner_group" / "state.pkl").write_bytes(poison)
        (sorted(places)[-1] / "learner.safetensors").write_bytes(poison)
    text = "".join(finish(out).split())  # the terminal's width breaks lines
    wrong = ["code of a pickle ran"] if ran.exists() else []
    if "learner.safetensors" not in text:
        wrong.append("the run did not name the damaged file")
    return ", ".join(wrong + differences(out, expected, ".pkl"))


def two(source: Path, expected: dict[str, Any], folder: Path) -> str:
    """What is wrong with two runs at once in one folder; nothing, if all is well."""
    out = folder / "two"
    shutil.copytree(source, out)
    for name in STAGES[STAGES.index("adapt") :]:
        shutil.rmtree(out / name)
    first = Watched(start(out))
    if not first.wait(lambda: first.shows("adapt")):
        return "the first run ended before the second one began"
    second = start(out)
    text, _ = second.communicate(timeout=LIMIT)
    first.process.wait(LIMIT)
    wrong = [] if second.returncode == 2 else [f"the second run ended with code {second.returncode}"]
    if f"pid {first.process.pid}" not in " ".join(text.split()):
        wrong.append(f"the second run does not say who works there: {text[-300:]}")
    if "Traceback" in text:
        wrong.append("the second run ended in a traceback")
    wrong += [] if first.process.returncode == 0 else ["the first run failed"]
    return ", ".join(wrong + differences(out, expected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="kills at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--poison", action="store_true")
    parser.add_argument("--two", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        began, folder = time.perf_counter(), Path(name)
        source = folder / "undisturbed"
        times = undisturbed(source)
        expected = results(source)
        print(f"undisturbed run: {sum(times.values()):.0f} s in its stages, {len(expected)} files")
        wrong = killed(arguments, source, expected, times)
        for option, check in (("poison", poisoned), ("two", two)):
            if getattr(arguments, option):
                problem = check(source, expected, folder)
                wrong += bool(problem)
                print(f"--{option}: {problem or 'as it should be'}")
        print(f"{time.perf_counter() - began:.0f} s")
    sys.exit(bool(wrong))


def killed(arguments: argparse.Namespace, source: Path, expected: dict[str, Any], times: dict[str, float]) -> int:
    """Kill and compare; prints a table and returns the number of runs that ended differently."""
    runs, kills, same = Counter[str](), Counter[str](), Counter[str]()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        numbers = range(arguments.kills)
        outcomes = pool.map(lambda n: trial(n, source, expected, times, arguments.seed), numbers)
        for number, (count, problem) in zip(numbers, outcomes, strict=True):
            stage = STAGES[number % len(STAGES)]
            runs[stage] += count > 0
            kills[stage] += count
            same[stage] += count > 0 and not problem
            if problem or not count:
                print(f"  {stage}, run {number}: {problem or 'ended before it could be killed, five times'}")
    if arguments.kills:
        print(f"{'stage':<10}{'runs':>6}{'kills':>7}{'same tables':>14}")
        for stage in STAGES:
            print(f"{stage:<10}{runs[stage]:>6}{kills[stage]:>7}{f'{same[stage]} of {runs[stage]}':>14}", flush=True)
        print(f"same tables: {same.total()} of {runs.total()}, after {kills.total()} kills")
    return runs.total() - same.total()


if __name__ == "__main__":
    main()
