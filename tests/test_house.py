"""The structure of the package: which way imports run, how large files are, and what the door loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "ialp_rllib"

# A room may import those above it, never those below.
ROOMS = [
    "errors",
    "commands",
    "progress",
    "machine",
    "settings",
    "storage",
    "runtime",
    "results",
    "catalogue",
    "users",
    "judge",
    "agent",
    "ope",
    "stages",
    "serving",
    "report",
    "compare",
    "sweep",
    "api",
    "cli",
]
# The same within the rooms that are large enough to have rooms of their own; "" is the files beside them.
INNER = {
    "catalogue": ["", "tables", "sources", "guess", "download"],
    "judge": [
        "prompt",
        "engines",
        "forms",
        "",
        "audit",
        "distillation",
        "oracle",
        "tuning",
        "tiny",
        "controls",
        "preference",
        "environment",
    ],
    "agent": ["policy", "envs", "rllib", ""],
    "report": ["kit", "audit", "ope", "run", "lea", "serving"],
}
# Rooms that may not load these libraries, not even through what they import.
WITHOUT = {
    "results": {"ray", "torch", "duckdb", "transformers", "vllm"},
    "catalogue": {"ray", "torch"},
    "users": {"ray"},
    "judge.prompt": {"ray", "torch", "duckdb", "vllm"},
    "judge.forms": {"ray", "torch", "duckdb", "vllm"},
    "judge.engines": {"ray", "duckdb"},
    "judge.tuning": {"ray", "duckdb"},
    "judge.audit": {"ray", "duckdb"},
    "judge.distillation": {"ray", "duckdb"},
    "judge.environment": {"ray", "duckdb"},
    "judge.preference": {"ray", "duckdb"},
    "agent.policy": {"ray", "duckdb", "transformers"},
    "ope": {"ray", "duckdb", "transformers"},
    # Every stage of a run starts processes; each would import these for seconds, to no use.
    "stages": {"transformers", "vllm", "peft", "torch._dynamo"},
}


def modules() -> dict[str, Path]:
    """Dotted name without the package -> file; a package is its ``__init__``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Modules of the package that a file imports, inside functions and for annotations, too, where ``everywhere``."""
    found = set()
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("ialp_rllib.") in MODULES else node.module for name in whole}
    return {name.removeprefix("ialp_rllib.") for name in found if name.startswith("ialp_rllib.")}


def room(module: str) -> str:
    return module.split(".")[0]


def position(module: str) -> int:
    """The position of a module among the inner rooms of its room."""
    parts = module.split(".")
    inner = INNER[parts[0]]
    return inner.index(parts[1]) if parts[1] in inner else inner.index("")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_imports_run_one_way(module: str) -> None:
    assert room(module) in ROOMS, f"{module} is in no room"
    for other in imports(MODULES[module]):
        assert ROOMS.index(room(other)) <= ROOMS.index(room(module)), f"{module} imports {other}, which is below it"
        if room(module) in INNER and room(other) == room(module) and "." in module and "." in other:
            assert position(other) <= position(module), f"{module} imports {other}, which is below it"


def test_no_circle_of_modules() -> None:
    graph = {name: imports(path) & set(MODULES) for name, path in MODULES.items()}
    seen: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if seen.get(name) == 1:
            pytest.fail(" -> ".join((*path[path.index(name) :], name)))
        if name in seen:
            return
        seen[name] = 1
        for other in graph[name]:
            visit(other, (*path, name))
        seen[name] = 2

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("place", WITHOUT)
def test_what_a_room_does_not_load(place: str) -> None:
    names = [name for name in MODULES if name == place or name.startswith(f"{place}.")]
    loads = "; ".join(f"import ialp_rllib.{name}" for name in names)
    script = f"import sys; {loads}; print(*sorted({WITHOUT[place]!r} & set(sys.modules)))"
    assert run_python(script) == "", f"{place} loads what it should not"


def run_python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_one_room_knows_rllib() -> None:
    for name, path in MODULES.items():
        known = re.search(r"^\s*(from|import) ray\.rllib", path.read_text(), re.MULTILINE)
        assert not known or name.startswith("agent.rllib."), name


def test_rllibs_private_attributes_are_touched_in_one_file() -> None:
    private = re.compile(r"\.(_learner|_named_optimizers|_weights_seq_no)\b|\b_global_registry\b")
    found = {name for name, path in MODULES.items() if private.search(path.read_text())}
    assert found == {"agent.rllib.private"}


def test_nothing_is_unpickled() -> None:
    """Folders of strangers are read. ``torch.load(..., weights_only=True)`` builds tensors and plain data alone."""
    unsafe = re.compile(
        r"^\s*(import|from) (pickle|cloudpickle|dill|joblib|marshal|shelve)\b|torch\.load\((?!.*weights_only=True)"
        r"|allow_pickle|np\.load\(|read_pickle\(|(?<!super\(\))\.(save_to_path|restore_from_path|from_checkpoint)\(",
        re.MULTILINE,
    )
    # A message of `ialp init` names pandas.read_pickle to the user.
    assert {n for n, path in MODULES.items() if unsafe.search(path.read_text())} <= {"catalogue.guess.convert"}


@pytest.mark.parametrize(
    "words", ["import ialp_rllib", "ialp --help", "ialp doctor", "ialp run --help", "ialp compare --help"]
)
def test_the_door_is_light(words: str, tmp_path: Path) -> None:
    heavy = {"torch", "ray", "duckdb", "pandas", "vllm", "transformers"}
    if words.startswith("ialp "):
        start = f"sys.argv = {words.split()!r}\ntry:\n    from ialp_rllib.cli.main import app; app()\n"
        start += "except SystemExit:\n    pass\n"
    else:
        start = words
    script = f"import sys\n{start}\nprint('LOADED', *sorted({heavy!r} & set(sys.modules)))"
    assert run_python(script).rsplit("LOADED", 1)[1].strip() == ""


def test_files_are_short() -> None:
    folders = ("ialp_rllib", "tune_experiments", "benchmarks", "cluster", "data", "tests")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    long = {str(path): len(path.read_text().splitlines()) for path in files}
    assert not {name: lines for name, lines in long.items() if lines > 300 and "/tests/" not in name}


def test_no_link_is_part_of_the_project() -> None:
    """A link under version control leads nowhere on every other machine (a folder of models was one)."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "--stage"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert [line for line in listing.stdout.splitlines() if line.startswith("120000")] == []
