"""Fuzz tests: malformed tables and settings give one error message, or exactly the contents of the files."""

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
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.cli import main as cli
from ialp_rllib.errors import InputError
from ialp_rllib.settings import FilterSettings, Settings, load
from tests.catalogue.corrupt_settings import SCENARIOS
from tests.catalogue.corrupt_tables import TABLES
from tests.catalogue.tables.literal import Unreadable, literal_catalogue
from tests.catalogue.valid_data import FORMATS, DataSet

FUZZ = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": (Phase.generate,),  # shrinking the seed does not simplify a plan
    "suppress_health_check": list(HealthCheck),
}
Kinds = dict[str, Callable[[DataSet, Random], None]]


@pytest.fixture(scope="module")
def folders() -> Iterator[Iterator[Path]]:
    """New folders, in memory if the system supports it."""
    shm = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="ialp-fuzz-", dir=shm if shm.is_dir() else None))
    yield (root / str(n) for n in range(10**6))
    shutil.rmtree(root)


@dataclass(frozen=True)
class Plan:
    """Formats of the three tables, corruptions, and the reader (``read``, ``validate`` or ``cli``)."""

    formats: tuple[str, ...]
    kinds: tuple[str, ...]
    seed: int
    way: str


def plans(kinds: Kinds) -> st.SearchStrategy[Plan]:
    """Random plans from a seed: hypothesis would draw the single choices less evenly."""

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


@settings(max_examples=200, **FUZZ)
@given(plan=plans(TABLES))
def fuzz_tables(plan: Plan, folders: Iterator[Path], seen: Counter) -> None:
    check(plan, TABLES, next(folders), seen)


@settings(max_examples=140, **FUZZ)
@given(plan=plans(SCENARIOS))
def fuzz_settings(plan: Plan, folders: Iterator[Path], seen: Counter) -> None:
    check(plan, SCENARIOS, next(folders), seen)


def test_malformed_tables(folders: Iterator[Path]) -> None:
    seen: Counter = Counter()
    fuzz_tables(folders=folders, seen=seen)
    assert_meaningful(seen, TABLES)


def test_malformed_settings(folders: Iterator[Path]) -> None:
    seen: Counter = Counter()
    fuzz_settings(folders=folders, seen=seen)
    assert_meaningful(seen, SCENARIOS)


def assert_meaningful(seen: Counter, kinds: Kinds) -> None:
    """Every corruption occurred, every reader reported errors, and some data sets were accepted."""
    assert set(kinds) <= set(seen)
    assert all(seen[way, "rejected"] for way in ("read", "cli", "validate"))
    assert seen["read", "accepted"] >= 2


def check(plan: Plan, kinds: Kinds, root: Path, seen: Counter) -> None:
    note(str(plan))
    root.mkdir()
    data, random, scenario, way = data_set(plan.formats, root), Random(plan.seed), root / "scenario.yaml", plan.way
    for kind in plan.kinds:
        kinds[kind](data, random)
    data.write(scenario)
    seen.update(plan.kinds)
    try:
        parsed, read = (run_cli if way == "cli" else run)(scenario, root)
    except InputError as error:
        seen[way, "rejected"] += 1
        assert_one_message(error, data)
        if way == "validate":
            assert_validate_agrees(error, scenario)
    else:
        seen[way, "accepted"] += 1
        assert_settings_match(parsed, scenario)
        assert_files_match(read, parsed, data.folder)


def run(scenario: Path, root: Path) -> tuple[Settings, Catalogue]:
    parsed = load(str(scenario))
    return parsed, read_source(parsed.catalogue)


def run_cli(scenario: Path, root: Path) -> tuple[Settings, Catalogue]:
    """``ialp prepare`` in this process; its error message is raised as an :class:`InputError`."""
    stderr, arguments = io.StringIO(), ["ialp", "prepare", str(scenario), "--out", str(root / "run")]
    code = 0
    with contextlib.redirect_stderr(stderr), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    if code:
        assert code == 2, stderr.getvalue()
        assert not (root / "run" / "prepare" / "manifest.json").exists()
        lines = stderr.getvalue().splitlines()
        errors = [n for n, line in enumerate(lines) if line.startswith("error ")]
        assert len(errors) == 1, lines
        where, _, problem = lines[errors[0]].removeprefix("error ").partition(": ")
        expected = "".join(lines[errors[0] + 1 :]).removeprefix("  expected: ")
        raise InputError(where, problem, expected)
    assert "error" not in stderr.getvalue()
    return load(str(scenario)), read_catalogue(root / "run" / "prepare")


SETTINGS_NAMES = {"scenario.yaml", "scenario:", "seeds", "catalogue.", "agent.", "data/"}
SETTINGS_NAMES |= {"items.", "interactions.", "users."}  # columns that a file lacks


def assert_one_message(error: InputError, data: DataSet) -> None:
    """The error names a corrupted file or setting, in one line of limited length."""
    where, problem = error.where, error.problem
    assert problem
    assert error.expected
    assert "\n" not in problem
    assert len(problem) < 1500
    assert "Traceback" not in str(error)
    names = {f"{t}." for t in data.wrong & set(data.tables)}
    if data.wrong & set(data.tables):  # several files: the folder
        names.add(f"{data.folder}: contains several")
    if data.wrong - set(data.tables):  # a missing column, a setting, or the settings file
        names |= SETTINGS_NAMES
    message = f"{where}: {problem}; {error.expected}"
    assert any(name in message for name in names), (message, data.wrong)


def assert_validate_agrees(error: InputError, scenario: Path) -> None:
    """Validation reports this error, too."""
    try:
        parsed = load(str(scenario))
    except InputError:
        return
    problems: list[Problem] = validate(parsed.catalogue)
    assert str(error) in [str(problem.error()) for problem in problems]


def assert_settings_match(parsed: Settings, scenario: Path) -> None:
    """The settings equal the plain YAML, with defaults for what it omits."""
    tree = yaml.safe_load(scenario.read_text("utf-8"))

    def compare(settings: Any, tree: dict, default: Any) -> None:
        assert set(tree) <= {f.name for f in fields(settings)}
        for f in fields(settings):
            value = getattr(settings, f.name)
            given = tree.get(f.name, {} if is_dataclass(value) else ...)
            if is_dataclass(value):
                compare(value, given, getattr(default, f.name))
            elif given is ...:
                assert value == getattr(default, f.name)
            else:
                assert value == (tuple(given) if isinstance(given, list) else type(value)(given)), f.name

    compare(parsed, tree, Settings())
    pairs = yaml.compose(scenario.read_text("utf-8")).value
    assert len({key.value for key, _ in pairs}) == len(pairs)


def assert_files_match(read: Catalogue, parsed: Settings, folder: Path) -> None:
    """Ids, texts, order and ratings equal those of the files."""
    catalogue = parsed.catalogue
    if catalogue.source != "files" or catalogue.filters != FilterSettings() or Path(catalogue.data) != folder:
        return
    problems = []
    for lenient in (False, True):
        try:
            literal = literal_catalogue(folder, catalogue, lenient)
        except Unreadable as error:
            problems.append(f"accepted, although {error}")
            continue
        actual = as_lists(read)
        parts = (literal.item_ids, literal.user_ids, literal.log, literal.item_texts, literal.user_texts)
        expected = dict(zip(actual, parts, strict=True))
        differing = [f"{p}: {actual[p]!r} instead of {expected[p]!r}" for p in actual if actual[p] != expected[p]]
        if not differing:
            for name, texts in literal.item_texts.items():
                assert ("" in texts) == any(note.endswith(f"items have no {name}.") for note in read.notes)
            assert np.array_equal(read.test_users, np.unique(read.test_users))
            return
        problems += differing
    damaged = any(".parquet" in p.name for p in folder.iterdir())  # readers may differ on damaged Parquet:
    if not (damaged and all(p.startswith("accepted") for p in problems) and as_lists(read) == EXPECTED):
        raise AssertionError("; ".join(problems))


EXPECTED = {
    "items": ["7", "i1", "i2", "007"],
    "users": ["u0", "u1", "u2"],
    "log": [(0, 0, 5.0), (0, 3, 4.0), (0, 1, None), (1, 1, 1.0), (1, 2, 3.5), (2, 0, 2.0)],
    "item texts": {"title": ['The "first", quoted', "Ünïcode ☂", "plain", "+"], "tags": ["red, small", "", "x", "x"]},
    "user texts": {"country": ["AT", "BE", "CH"]},
}


def as_lists(read: Catalogue) -> dict[str, Any]:
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
def test_valid_data_are_accepted(ending: str, folders: Iterator[Path]) -> None:
    """Otherwise the fuzz tests could pass by rejecting everything."""
    root = next(folders)
    root.mkdir()
    data = data_set((ending,) * 3, root)
    data.write(root / "scenario.yaml")
    parsed, read = run(root / "scenario.yaml", root)
    assert as_lists(read) == EXPECTED
    assert_settings_match(parsed, root / "scenario.yaml")
    assert_files_match(read, parsed, data.folder)


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "Windows line endings": lambda data: data.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "no newline at the end": lambda data: data.rstrip(b"\n"),
    "blank lines": lambda data: data.replace(b"\n", b"\n\n"),
    "another text": lambda data: data.replace(b"plain", b"pl\0in [/b] '; --"),
}


HARMLESS_CASES = [(ending, what) for ending in ("csv", "csv.gz", "tsv", "atomic") for what in HARMLESS]
HARMLESS_CASES += [("jsonl", what) for what in HARMLESS if what not in ("a byte order mark", "another text")]


@pytest.mark.parametrize(("ending", "what"), HARMLESS_CASES)
def test_harmless_changes_are_accepted(ending: str, what: str, folders: Iterator[Path]) -> None:
    root = next(folders)
    root.mkdir()
    data = data_set((ending,) * 3, root)
    data.data = {name: [HARMLESS[what]] for name in data.tables}
    data.write(root / "scenario.yaml")
    parsed, read = run(root / "scenario.yaml", root)
    assert len(read.item) == 6
    assert_files_match(read, parsed, data.folder)
