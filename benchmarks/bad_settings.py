"""Bad and odd settings: is each of them read, or refused by a message that names it? Nothing else may happen.

Usage: ``PYTHONPATH=. python benchmarks/bad_settings.py [--cases 12000] [--prepare 60] [--seed 0]``

Each case has random values for one to four settings, at the edges of their ranges, extreme, or of another type; half of
them are written to a YAML file, half are given as ``--set``. Of those that are read some are used: stage ``prepare`` of
the sample runs with them in this process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.settings import SCENARIOS, Settings, load
from ialp_rllib.settings.overrides import to_overrides
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from tests.settings.odd import odd_settings, tree_of

LONGEST = 2000  # characters of a message


def read(values: dict[str, Any], folder: Path, in_a_file: bool) -> Settings:
    """Read the sample's settings with these values."""
    if not in_a_file:
        return load("sample", [text for name, value in values.items() for text in to_overrides({name: value})])
    tree = yaml.safe_load((SCENARIOS / "sample.yaml").read_text())
    for name, value in tree_of(values).items():
        tree[name] = {**tree[name], **value} if isinstance(tree.get(name), dict) and isinstance(value, dict) else value
    path = folder / "odd.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=False))
    return load(str(path))


def attempt(case: Any, failures: list[str], what: str) -> Any:
    """The result of ``case()``, the :class:`InputError` it ends with, or None after any other error."""
    try:
        return case()
    except InputError as error:
        if len(str(error)) > LONGEST or not error.problem or "\n" in error.where:
            failures.append(f"{what}: a poor message: {str(error)[:300]!r}")
        return error
    except Exception:
        failures.append(f"{what}:\n{traceback.format_exc()[-1500:]}")
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--prepare", type=int, default=60, help="accepted settings to run `prepare` with")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random, counts, failures, accepted = Random(options.seed), Counter[str](), list[str](), list[Settings]()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(options.cases):
            values, in_a_file = odd_settings(random), index % 2 == 0
            result = attempt(lambda v=values, f=in_a_file: read(v, folder, f), failures, f"{values!r:.300}")
            kind = {Settings: "read", InputError: "refused"}.get(type(result), "another error")
            counts[f"{kind}, {'YAML' if in_a_file else '--set'}"] += 1
            if isinstance(result, Settings):
                accepted.append(result)
        for index, settings in enumerate(random.sample(accepted, min(options.prepare, len(accepted)))):
            run = attempt(lambda s=settings, i=index: prepare(s, folder / f"run-{i}"), failures, "prepare")
            counts[f"prepare: {'done' if run is True else 'refused' if run is not None else 'another error'}"] += 1
    for kind, count in sorted(counts.items()):
        print(f"{kind:<28}{count:>8,}")
    print(f"{options.cases:,} cases, {len(failures)} failures, {time.perf_counter() - began:.0f} s")
    print(*failures[:20], sep="\n")
    return int(bool(failures))


def prepare(settings: Settings, root: Path) -> bool:
    """Stage ``prepare`` with these settings."""
    run_all(RunFolder(settings, root), Progress(), ["prepare"])
    return True


if __name__ == "__main__":
    raise SystemExit(main())
