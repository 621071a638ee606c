"""What happens to a finished run whose files are damaged: noticed, harmless, or silently taken for the truth?

Flips single bits, and zeroes, truncates, empties, lengthens and swaps whole files, one at a time, in a copy of a
finished run. After each damage it asks three readers: `ialp check`, the reuse of the stage by `ialp run`, and
everything that `ialp_rllib.open_run` can read.

    python benchmarks/damaged_runs.py                     # makes a small run of the sample first (about a minute)
    python benchmarks/damaged_runs.py --run runs/sample

noticed: the check finds damage, and the stage is run again or refused. harmless: nothing of ours reads the file
(TensorBoard's logs), or what it says is the same (a blank in JSON). silent: anything else. Exit code 1 if any damage is
silent or ends in another error than a plain message.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ialp_rllib
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.errors import InputError
from ialp_rllib.stages.check import LOGS, inspect
from ialp_rllib.storage import LOCK, MANIFEST, require_intact

SMALL = {
    "judge.engine": "transformers",
    "judge.audit_prompts": 64,
    "judge.tune.interactions": 64,
    "judge.tune.epochs": 1,
    "judge.allow_chance": True,
    "distil.sessions": 64,
    "distil.steps": 6,
    "pretrain.updates": 60,
    "pretrain.critic_updates": 60,
    "pretrain.listwise.epochs": 3,
    "pretrain.listwise.episodes": 40,
    "adapt.methods": ["a2c", "aialp_ap"],
    "adapt.env_steps": 2000,
    "adapt.epoch_steps": 500,
    "users.sequence.epochs": 1,
    "evaluate.episodes": 20,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run; it is copied")
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--files", type=int, default=200, help="damages of whole files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "run"
        if arguments.run:
            shutil.copytree(arguments.run, root)
        else:
            ialp_rllib.run("sample", SMALL, out=root, progress=False)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        reference = everything(root)
        bits = Counter[tuple[str, str]]()
        for _ in range(arguments.flips):
            path = rng.choice([file for file in files if file.stat().st_size])
            bits[kind(path, root), outcome(root, path, flip(path, rng), reference)] += 1
        show(f"{arguments.flips} flipped bits in {len(files)} files", bits)
        whole = Counter[tuple[str, str]]()
        for number in range(arguments.files):
            how, path = list(DAMAGES)[number % len(DAMAGES)], rng.choice(files)
            other = rng.choice([file for file in files if file.read_bytes() != path.read_bytes()])
            whole[how, outcome(root, path, DAMAGES[how](path.read_bytes(), other.read_bytes()), reference)] += 1
        show(f"{arguments.files} files zeroed, truncated, emptied, lengthened, swapped", whole)
    sys.exit(any(result in ("silent", "traceback") for _, result in (*bits, *whole)))


def flip(path: Path, rng: random.Random) -> bytes:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "zeroed": lambda data, other: bytes(len(data)),
    "truncated": lambda data, other: data[: len(data) // 2],
    "emptied": lambda data, other: b"",
    "lengthened": lambda data, other: data + b"\0",
    "swapped": lambda data, other: other,
}


@contextmanager
def damaged(path: Path, data: bytes) -> Iterator[None]:
    """The file holds other bytes within this context."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def outcome(root: Path, path: Path, data: bytes, reference: dict[str, Any]) -> str:
    """What the readers make of a damage: noticed, harmless, silent, or traceback."""
    if data == path.read_bytes():
        return "harmless"
    same = harmless(root, path, data)
    with damaged(path, data):
        try:
            named = bool(inspect(root).damages)  # a swapped manifest is noticed by the files that it misses
            reused = intact(path.parent, root)
        except InputError:
            named, reused = True, False
        except Exception:
            logging.exception("%s", path)
            return "traceback"
        try:
            equal = everything(root) == reference
        except InputError:
            equal = True  # refused: nothing wrong was handed over
        except Exception:
            logging.exception("%s", path)
            return "traceback"
    if named and not reused and equal:
        return "noticed"
    return "harmless" if same and equal else "silent"


def harmless(root: Path, path: Path, data: bytes) -> bool:
    """Whether nothing of ours reads the file, or it says the same as before."""
    if LOGS in path.relative_to(root).parts or path.name == LOCK:
        return True
    if path.suffix != ".json":
        return False
    try:
        return bool(json.loads(data) == json.loads(path.read_bytes()))
    except ValueError:
        return False


def intact(folder: Path, root: Path) -> bool:
    """Whether every stage that a folder belongs to would be reused."""
    try:
        for parent in (folder, *folder.parents):
            if (parent / MANIFEST).is_file():
                require_intact(parent)
            if parent == root:
                break
    except InputError:
        return False
    return True


def everything(root: Path) -> dict[str, Any]:
    """All that `open_run` reads, in a form that can be compared; a part that is refused is left out."""
    run = ialp_rllib.open_run(root)
    read: dict[str, Callable[[], Any]] = {
        name: lambda name=name: getattr(run, name).to_csv()  # type: ignore[misc]
        for name in ("results", "curves", "preferences", "items", "interactions")
    }
    read |= {name: lambda name=name: json.dumps(getattr(run, name)) for name in ("judge", "users")}  # type: ignore[misc]
    for method in run.settings.adapt.methods:
        folder = root / "adapt" / method / f"seed-{run.settings.seeds[0]}"
        read[method] = lambda folder=folder: load_policy(folder).recommend([], k=5)  # type: ignore[misc]
    return {name: value() for name, value in read.items()}


def kind(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return LOGS if parts[0] == LOGS else path.name if path.suffix in (".json", ".yaml", "") else path.suffix


def show(title: str, counts: Counter[tuple[str, str]]) -> None:
    outcomes = ("noticed", "harmless", "silent", "traceback")
    print(f"\n{title}\n{'':24}" + "".join(f"{name:>11}" for name in outcomes))
    for row in sorted({row for row, _ in counts}):
        print(f"{row:24}" + "".join(f"{counts[row, name]:11}" for name in outcomes))
    totals = [sum(count for (_, result), count in counts.items() if result == name) for name in outcomes]
    print(f"{'all':24}" + "".join(f"{total:11}" for total in totals))


if __name__ == "__main__":
    main()
