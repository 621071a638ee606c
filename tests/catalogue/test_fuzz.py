"""Random malformed tables and settings: one message that names the place, or exactly what the files literally say."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.catalogue.problems import Problem
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.catalogue.validate import validate
from ialp_rllib.cli import main as cli
from ialp_rllib.errors import InputError
from ialp_rllib.settings import FilterSettings, Settings, load
from tests.catalogue.corrupt_settings import SCENARIOS
from tests.catalogue.corrupt_tables import TABLES
from tests.catalogue.right import FORMATS, DataSet
from tests.catalogue.tables.literal import Unreadable, literal_catalogue

FUZZ = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": (Phase.generate,),  # a plan does not become simpler with its seed
    "suppress_health_check": list(HealthCheck),
}
Kinds = dict[str, Callable[[DataSet, Random], None]]


@pytest.fixture(scope="module")
def places() -> Iterator[Iterator[Path]]:
    """New folders, in memory where the system has such."""
    shm = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="ialp-fuzz-", dir=shm if shm.is_dir() else None))
    yield (root / str(n) for n in range(10**6))
    shutil.rmtree(root)


@dataclass(frozen=True)
class Plan:
    """Formats of the three tables, what is corrupted, and how it is read."""

    formats: tuple[str, ...]
    kinds: tuple[str, ...]
    seed: int
    way: str


def plans(kinds: Kinds) -> st.SearchStrategy[Plan]:
    """Plans that are spread evenly: drawn one choice at a time they would come in clumps."""

    def plan(seed: int) -> Plan:
        random = Random(seed)
        return Plan(
            tuple(random.choices(FORMATS, k=3)),
            tuple(random.choices(sorted(kinds), k=random.choice([1, 1, 2]))),
            seed,
            random.choice(["read"] * 8 + ["validate", "cli"]),
        )

    return st.integers(0, 2**64 - 1).map(plan)


def data_set(formats: tuple[str, ...], root: Path) -> DataSet:
    return DataSet(dict(zip(("items", "interactions", "users"), formats, strict=True)), root / "data")


@settings(max_examples=360, **FUZZ)
@given(plan=plans(TABLES))
def fuzz_tables(plan: Plan, places: Iterator[Path], seen: Counter) -> None:
    check(plan, TABLES, next(places), seen)


@settings(max_examples=140, **FUZZ)
@given(plan=plans(SCENARIOS))
def fuzz_settings(plan: Plan, places: Iterator[Path], seen: Counter) -> None:
    check(plan, SCENARIOS, next(places), seen)


def test_malformed_tables(places: Iterator[Path]) -> None:
    seen: Counter = Counter()
    fuzz_tables(places=places, seen=seen)
    assert_meaningful(seen, TABLES)


def test_malformed_settings(places: Iterator[Path]) -> None:
    seen: Counter = Counter()
    fuzz_settings(places=places, seen=seen)
    assert_meaningful(seen, SCENARIOS)


def assert_meaningful(seen: Counter, kinds: Kinds) -> None:
    """Each kind of corruption occurred, each way of reading was taken, and some data sets passed."""
    assert set(kinds) <= set(seen)
    assert all(seen[way, "refused"] for way in ("read", "cli", "validate"))
    assert seen["read", "passed"] > 2


def check(plan: Plan, kinds: Kinds, root: Path, seen: Counter) -> None:
    note(str(plan))
    root.mkdir()
    data, random, scenario, way = data_set(plan.formats, root), Random(plan.seed), root / "scenario.yaml", plan.way
    for kind in plan.kinds:
        kinds[kind](data, random)
    data.write(scenario)
    seen.update(plan.kinds)
    try:
        found, read = (run_cli if way == "cli" else run)(scenario, root)
    except InputError as error:
        seen[way, "refused"] += 1
        assert_one_message(error, data)
        if way == "validate":
            assert_validate_agrees(error, scenario)
    else:
        seen[way, "passed"] += 1
        assert_settings_say(found, scenario)
        assert_files_say(read, found, data.folder)


def run(scenario: Path, root: Path) -> tuple[Settings, Catalogue]:
    found = load(str(scenario))
    return found, read_source(found.catalogue)


def run_cli(scenario: Path, root: Path) -> tuple[Settings, Catalogue]:
    """``ialp prepare`` in this process; what it refuses is raised again from the message that it shows."""
    shown, arguments = io.StringIO(), ["ialp", "prepare", str(scenario), "--out", str(root / "run")]
    code = 0
    with contextlib.redirect_stderr(shown), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    if code:
        assert code == 2, shown.getvalue()
        assert not (root / "run" / "prepare" / "manifest.json").exists()
        lines = shown.getvalue().splitlines()
        first = [n for n, line in enumerate(lines) if line.startswith("error ")]
        assert len(first) == 1, lines
        where, _, problem = lines[first[0]].removeprefix("error ").partition(": ")
        expected = "".join(lines[first[0] + 1 :]).removeprefix("  expected: ")
        raise InputError(where, problem, expected)
    assert "error" not in shown.getvalue()
    return load(str(scenario)), read_catalogue(root / "run" / "prepare")


SETTINGS_ARE_NAMED = {"scenario.yaml", "scenario:", "seeds", "catalogue.", "agent.", "data/"}
SETTINGS_ARE_NAMED |= {"items.", "interactions.", "users."}  # a file has no such column


def assert_one_message(error: InputError, data: DataSet) -> None:
    """It names a file or a setting that was corrupted, in one line of bearable length."""
    where, problem = error.where, error.problem
    assert problem
    assert error.expected
    assert "\n" not in problem
    assert len(problem) < 1500
    assert "Traceback" not in str(error)
    names = {f"{t}." for t in data.wrong & set(data.tables)}
    if data.wrong & set(data.tables):  # no file, or several: the folder
        names.add(f"{data.folder}: contains several")
    if data.wrong - set(data.tables):  # a file that holds no such column, or the setting, or the file of the settings
        names |= SETTINGS_ARE_NAMED
    said = f"{where}: {problem}; {error.expected}"
    assert any(name in said for name in names), (said, data.wrong)


def assert_validate_agrees(error: InputError, scenario: Path) -> None:
    """Looking for all that is wrong finds this as well, and gets through."""
    try:
        found = load(str(scenario))
    except InputError:
        return
    problems: list[Problem] = validate(found.catalogue)
    assert str(error) in [str(problem.error()) for problem in problems]


def assert_settings_say(found: Settings, scenario: Path) -> None:
    """The settings are what plain YAML says, and defaults where it says nothing."""
    tree = yaml.safe_load(scenario.read_text("utf-8"))

    def compare(settings: Any, tree: dict, default: Any) -> None:
        assert set(tree) <= {f.name for f in fields(settings)}
        for f in fields(settings):
            value, said = (
                getattr(settings, f.name),
                tree.get(f.name, {} if is_dataclass(getattr(settings, f.name)) else ...),
            )
            if is_dataclass(value):
                compare(value, said, getattr(default, f.name))
            elif said is ...:
                assert value == getattr(default, f.name)
            else:
                assert value == (tuple(said) if isinstance(said, list) else type(value)(said)), f.name

    compare(found, tree, Settings())
    pairs = yaml.compose(scenario.read_text("utf-8")).value
    assert len({key.value for key, _ in pairs}) == len(pairs)


def assert_files_say(read: Catalogue, found: Settings, folder: Path) -> None:
    """Ids, texts, order and ratings are those of the files, to the last row."""
    catalogue = found.catalogue
    if catalogue.source != "files" or catalogue.filters != FilterSettings() or Path(catalogue.data) != folder:
        return
    problems = []
    for lenient in (False, True):
        try:
            said = literal_catalogue(folder, catalogue, lenient)
        except Unreadable as error:
            problems.append(f"passes, though {error}")
            continue
        made = holds(read)
        wanted = dict(
            zip(made, (said.item_ids, said.user_ids, said.log, said.item_texts, said.user_texts), strict=True)
        )
        differing = [f"{part}: {made[part]!r} for {wanted[part]!r}" for part in made if made[part] != wanted[part]]
        if not differing:
            for name, texts in said.item_texts.items():
                assert ("" in texts) == any(note.endswith(f"items have no {name}.") for note in read.notes)
            assert np.array_equal(read.test_users, np.unique(read.test_users))
            return
        problems += differing
    damaged = any(".parquet" in p.name for p in folder.iterdir())  # one engine may read past what another stops at:
    if not (damaged and all(p.startswith("passes") for p in problems) and holds(read) == RIGHT):
        raise AssertionError("; ".join(problems))


RIGHT = {
    "items": ["7", "i1", "i2", "007"],
    "users": ["u0", "u1", "u2"],
    "log": [(0, 0, 5.0), (0, 3, 4.0), (0, 1, None), (1, 1, 1.0), (1, 2, 3.5), (2, 0, 2.0)],
    "item texts": {"title": ['The "first", quoted', "Ünïcode ☂", "plain", "-"], "tags": ["red, small", "", "x", "x"]},
    "user texts": {"country": ["AT", "BE", "CH"]},
}


def holds(read: Catalogue) -> dict[str, Any]:
    """A catalogue as lists."""
    rows = zip(read.user.tolist(), read.item.tolist(), read.rating.tolist(), strict=True)
    return {
        "items": read.item_ids.tolist(),
        "users": read.user_ids.tolist(),
        "log": [(u, i, None if math.isnan(r) else r) for u, i, r in rows],
        "item texts": {name: texts.tolist() for name, texts in read.item_texts.items()},
        "user texts": {name: texts.tolist() for name, texts in read.user_texts.items()},
    }


@pytest.mark.parametrize("ending", FORMATS)
def test_nothing_corrupted_passes(ending: str, places: Iterator[Path]) -> None:
    """Else the fuzz tests could pass by refusing everything."""
    root = next(places)
    root.mkdir()
    data = data_set((ending,) * 3, root)
    data.write(root / "scenario.yaml")
    found, read = run(root / "scenario.yaml", root)
    assert holds(read) == RIGHT
    assert_settings_say(found, root / "scenario.yaml")
    assert_files_say(read, found, data.folder)


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "line ends of Windows": lambda data: data.replace(b"\n", b"\r\n"),
    "a mark of the byte order": lambda data: b"\xef\xbb\xbf" + data,
    "no line end at the end": lambda data: data.rstrip(b"\n"),
    "blank lines": lambda data: data.replace(b"\n", b"\n\n"),
    "another text": lambda data: data.replace(b"plain", b"pl\0in [/b] '; --"),
}


HARMLESS_CASES = [(ending, what) for ending in ("csv", "csv.gz", "tsv", "atomic") for what in HARMLESS]
HARMLESS_CASES += [("jsonl", what) for what in HARMLESS if what not in ("a mark of the byte order", "another text")]


@pytest.mark.parametrize(("ending", "what"), HARMLESS_CASES)
def test_harmless_changes_pass(ending: str, what: str, places: Iterator[Path]) -> None:
    root = next(places)
    root.mkdir()
    data = data_set((ending,) * 3, root)
    data.data = {name: [HARMLESS[what]] for name in data.tables}
    data.write(root / "scenario.yaml")
    found, read = run(root / "scenario.yaml", root)
    assert len(read.item) == 6
    assert_files_say(read, found, data.folder)
