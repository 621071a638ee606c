"""Does work on a cluster of three hosts survive the loss of a worker node, of the head, of the driver?

    sudo python benchmarks/cluster_kills.py --kills 30 --seed 0      # Linux, root, iproute2; some minutes per kill

Three network namespaces with addresses of their own (:mod:`hosts`) are a head without CPUs and two workers; the run's
folder is shared. `ialp run sample` or `ialp sweep sample`, small, starts on the head from a copy of a finished one
without the stage and the later ones, and loses at a random moment of that stage

    node    the worker with most of the work: all its processes end at once; it comes back when the work has gone on
    head    all processes of the head, with the driver; Ray is started there again at once, and on a worker as soon as
            its own Ray has ended
    driver  the command, by SIGKILL

Then the run must end by itself (node), or by the same command (head, driver), with the tables and weights of an
undisturbed run, to the bit, and no stored row of the preference table is asked again. With ``--submit`` the command is
a job of `cluster/submit.sh`. "noticed": seconds until Ray declared the node dead (node), until the first worker's Ray
ended (head). "went on": seconds from there until everything that was under way had gone further. Exit code 1 if
anything differs. The namespaces are removed at the end, also after Ctrl-C or a kill of this script.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from hosts import Hosts
from hosts_ray import HEAD, PATIENCE, Cluster
from kills import SMALL
from watched_runs import STAGES, Watched, differences, results

from ialp_rllib.stages.titles import TITLES
from ialp_rllib.storage import MANIFEST

KINDS = ("node", "head", "driver")
PLACES = ("distil", "pretrain", "adapt", "sweep")
LIMIT = 1800.0  # seconds for a command
PROGRESS = "progress.json"  # of ialp_rllib.agent.trainer, whose import takes seconds
TRIES = 5  # commands until a run must have ended
SETTINGS = {
    **SMALL,
    "judge.tune.enabled": "false",
    "distil.sessions": 256,
    "pretrain.updates": 200,
    "adapt.methods": "[aialp_ap]",
    "runtime.threads": 1,
    "seeds": "[0, 1]",
}
SWEEP = ["--vary", "adapt.alpha.start=[0.1, 0.5, 0.9]", "--seeds", "1", "--no-final"]
SWEPT = ("trials", "trials.parquet", "rungs.parquet", "best.json")  # what a sweep leaves that is compared
SHOWN = {"a traceback": "Traceback", "what workers log": ", ip=10."}  # neither belongs between lines of progress
REPOSITORY = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """Of one kill: where, when, seconds, and what was wrong."""

    kind: str
    place: str
    host: str
    after: float
    noticed: float
    went_on: float
    commands: int
    problem: str


class Bench:
    """The cluster, and an undisturbed run and sweep on it to compare with."""

    def __init__(self, cluster: Cluster, submit: bool) -> None:
        self.cluster, self.submit, self.folder = cluster, submit, cluster.hosts.folder
        self.seconds: dict[str, float] = {}

    def arguments(self, place: str, out: Path) -> list[str]:
        sets = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        if place == "sweep":
            return ["sweep", "sample", "--out", str(out), *SWEEP, *sets]
        return ["run", "sample", "--out", str(out), *sets]

    def start(self, place: str, out: Path) -> Watched:
        """The command, on the head."""
        words = [sys.executable, "-m", "ialp_rllib.cli", *self.arguments(place, out)]
        if self.submit:
            words = [str(REPOSITORY / "cluster" / "submit.sh"), *self.arguments(place, out)[1:]]
        return Watched(self.cluster.hosts.start(HEAD, words, self.cluster.env, subprocess.PIPE))

    def finish(self, run: Watched) -> str:
        """Wait for a command's end; what it said that it should not have, empty: nothing."""
        try:
            run.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            run.kill()
            return f"did not end: {''.join(run.lines[-5:])}"
        time.sleep(0.2)
        text = "".join(run.lines)
        if run.process.returncode:
            return f"ended with code {run.process.returncode}: {text[-1500:]}"
        shown = [name for name, mark in SHOWN.items() if mark in text]
        return f"showed {', '.join(shown)}" if shown else ""

    def undisturbed(self, places: set[str]) -> None:
        """A whole run, and a sweep, to copy from and to compare with."""
        for what in sorted({"sweep" if place == "sweep" else "run" for place in places}):
            began = time.perf_counter()
            problem = self.finish(self.start(what, self.folder / what))
            if problem:
                raise SystemExit(f"the undisturbed {what} {problem}")
            print(f"undisturbed {what}: {time.perf_counter() - began:.0f} s", flush=True)
        self.seconds = {path.parent.name: taken(path) for path in (self.folder / "run").glob(f"*/{MANIFEST}")}
        trials = [taken(path) for path in (self.folder / "sweep" / "trials").glob(f"*/*/{MANIFEST}")]
        self.seconds["sweep"] = max(trials, default=0.0)

    def begin(self, place: str) -> Path:
        """A copy of the undisturbed run or sweep without a stage and the later ones."""
        source, out = self.folder / ("sweep" if place == "sweep" else "run"), self.folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(source, out)
        if place == "sweep":
            for path in out.iterdir():
                if path.name != "shared":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in STAGES[STAGES.index(place) :] if place in STAGES else ():
            shutil.rmtree(out / name, ignore_errors=True)  # a method's own stages may not be there
        return out

    def wrong(self, place: str, out: Path) -> str:
        """Names of what is not as in the undisturbed run."""
        what, folders = ("sweep", SWEPT) if place == "sweep" else ("run", tuple(STAGES))
        return ", ".join(differences(out, results(self.folder / what, folders), folders=folders))

    # ---- one kill

    def trial(self, kind: str, place: str, rng: random.Random) -> Outcome | None:
        """Kill once, let it end, and compare; None: it ended before."""
        out = self.begin(place)
        run, title = self.start(place, out), TITLES.get(place, "Run the trials")
        after, until = rng.uniform(0, self.seconds[place]), float("inf")
        if run.wait(lambda: any(f"… {title}" in line for line in list(run.lines)), LIMIT):
            until = time.perf_counter() + after
        if not run.wait(lambda: time.perf_counter() >= until, LIMIT):
            self.finish(run)
            return None
        host, killed = self.lose(kind, run)
        stored = 0 if kind == "node" else rows(out / "distil")
        noticed = killed
        if kind == "head":
            self.cluster.start_node(HEAD)
        if kind == "node":
            noticed = wait_for(lambda: self.cluster.noticed(host, killed))
        else:
            run = self.start(place, out)
        if kind == "head":
            noticed = self.workers_again()
        went_on = self.watch(run, place, out)
        self.cluster.mend()
        commands = 1 if kind == "node" else 2
        problem = self.finish(run)
        while run.process.returncode and commands < TRIES:
            print(f"  {kind}, {place}: the command {problem}", flush=True)
            run, commands = self.start(place, out), commands + 1
            problem = self.finish(run)
        problem = problem or self.wrong(place, out) or (asked_twice(out, stored) if place == "distil" else "")
        return Outcome(kind, place, host, after, noticed - killed, went_on - noticed, commands, problem)

    def lose(self, kind: str, run: Watched) -> tuple[str, float]:
        """Kill; the host, and when."""
        if kind == "driver":
            run.kill()
            return HEAD, time.time()
        host = HEAD if kind == "head" else (self.cluster.busy() or self.cluster.workers)[0]
        killed = time.time()
        self.cluster.kill(host)
        return host, killed

    def workers_again(self) -> float:
        """Start Ray on workers as soon as theirs has ended; when the first one had."""
        noticed, waiting, until = 0.0, set(self.cluster.workers), time.time() + PATIENCE
        while waiting and time.time() < until:
            ended = {name for name in waiting if not self.cluster.lives(name)}
            noticed, waiting = noticed or (time.time() if ended else 0.0), waiting - ended
            time.sleep(0.1)
        for name in waiting:
            print(f"  Ray on {name} did not end in {PATIENCE:.0f} s", flush=True)
            self.cluster.kill(name)
        self.cluster.mend()
        return noticed or time.time()

    def watch(self, run: Watched, place: str, out: Path) -> float:
        """When everything that was under way had gone further, or the command ended."""
        last = done(out, place)
        waiting = {name for name, units in last.items() if units < float("inf")} or {""}
        while waiting and run.process.poll() is None:
            now = done(out, place)
            moved = {name for name in now if now[name] > last.get(name, float("-inf"))}
            waiting = set() if waiting == {""} and moved else waiting - moved
            last = now
            time.sleep(0.05)
        return time.time()


def done(out: Path, place: str) -> dict[str, float]:
    """What each part of a stage has done, in units that only grow while it works; infinite: it is finished."""
    if place == "distil":
        return {"": max((path.stat().st_mtime for path in _files(out / place, "*.parquet")), default=0.0)}
    parts: dict[str, float] = {}
    folder = out / ("trials" if place == "sweep" else place)
    for path in _files(folder, PROGRESS):
        try:
            parts[str(path.parent)] = json.loads(path.read_text())["done"]
        except FileNotFoundError:
            continue
    return parts | {str(path.parent): float("inf") for path in _files(folder, MANIFEST) if path.parent != folder}


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.is_file()] if folder.is_dir() else []


def taken(manifest: Path) -> float:
    """Seconds of a stage."""
    return float(json.loads(manifest.read_text())["seconds"])


def rows(folder: Path) -> int:
    """Stored rows of a preference table."""
    return sum(pq.read_metadata(path).num_rows for path in _files(folder, "*.parquet"))


def asked_twice(out: Path, stored: int) -> str:
    """Whether rows that were stored when the command died were asked again."""
    facts = json.loads((out / "distil" / MANIFEST).read_text())["facts"]
    again = facts["asked_now"] + stored - facts["prompts"]
    return f"{again} stored rows were asked again" if again > 0 else ""


def wait_for(ready: Callable[[], float | None]) -> float:
    """The value, once there is one."""
    while (value := ready()) is None:
        time.sleep(0.1)
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--stages", nargs="+", choices=PLACES, default=PLACES)
    parser.add_argument("--submit", action="store_true", help="as jobs of cluster/submit.sh: runs only, nodes only")
    arguments = parser.parse_args()
    kinds, places = list(arguments.kinds), list(arguments.stages)
    if arguments.submit:
        kinds, places = ["node"], [place for place in places if place != "sweep"]
    outcomes = []
    with Hosts([HEAD, "one", "two"]) as hosts:
        cluster = Cluster(hosts, dashboard=arguments.submit)
        cluster.start()
        bench = Bench(cluster, arguments.submit)
        bench.undisturbed(set(places))
        times = f"{'after':>7}{'noticed':>9}{'went on':>9}"
        print(f"{'kill':<5}{'lost':<8}{'during':<10}{'host':<6}{times}{'commands':>10}  result")
        for number in range(arguments.kills):
            kind, place = kinds[number % len(kinds)], places[(number + number // 12) % len(places)]
            rng = random.Random(f"{arguments.seed}/{number}")
            outcome = next((one for _ in range(5) if (one := bench.trial(kind, place, rng))), None)
            if outcome is None:
                print(f"{number:<5}{kind:<8}{place:<10}ended before it could be killed, five times", flush=True)
                continue
            outcomes.append(outcome)
            print(row(number, outcome), flush=True)
    same = sum(not outcome.problem for outcome in outcomes)
    print(f"as undisturbed: {same} of {len(outcomes)}; most seconds until work went on: {slowest(outcomes):.1f}")
    sys.exit(same < len(outcomes))


def row(number: int, outcome: Outcome) -> str:
    times = f"{outcome.after:>6.1f}s{outcome.noticed:>8.1f}s{outcome.went_on:>8.1f}s{outcome.commands:>10}"
    result = outcome.problem or "the same"
    return f"{number:<5}{outcome.kind:<8}{outcome.place:<10}{outcome.host:<6}{times}  {result}"


def slowest(outcomes: list[Outcome]) -> float:
    return max((outcome.went_on for outcome in outcomes), default=0.0)


if __name__ == "__main__":
    main()
