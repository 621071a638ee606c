"""A scenario file or a run's folder that names plugins: nothing is imported before the user said so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import ialp_rllib
from ialp_rllib.agent.methods import METHODS
from ialp_rllib.cli.main import app
from ialp_rllib.compare import plan_comparison
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load, to_dict
from ialp_rllib.stages.run import RunFolder

NAME = "plugin_of_a_stranger"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Whether the plugin was imported: a module that leaves a file."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / f"{NAME}.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(folder)
    yield (tmp_path / "ran").exists
    sys.modules.pop(NAME, None)


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """A scenario file that names the plugin."""
    settings = to_dict(load("sample", ["adapt.methods=[a2c]", f"adapt.plugins=[{NAME}]"]))
    path = tmp_path / "stranger.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


COMMANDS = [
    ["run", "SCENARIO"],
    *([stage, "SCENARIO"] for stage in ("prepare", "users", "tune", "distil", "pretrain", "adapt", "report")),
    ["judge", "audit", "SCENARIO"],
    ["compare", "SCENARIO", "--only-report"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_no_command_imports_what_a_file_names(
    command: list[str], scenario: str, imported: Callable[[], bool], tmp_path: Path
) -> None:
    words = [scenario if word == "SCENARIO" else word for word in command]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, InputError)
    message = str(done.exception)
    assert scenario in message and "--allow-plugins" in message
    assert str(tmp_path / "modules" / f"{NAME}.py") in message  # which file it would be
    assert not imported() and not (tmp_path / "out").exists()


def test_from_python_nothing_is_imported_unasked(scenario: str, imported: Callable[[], bool], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    RunFolder(load(scenario, allow_plugins=True), folder).write_settings()  # by the stranger, who has the plugin
    assert imported()
    (tmp_path / "ran").unlink()
    del sys.modules[NAME]
    for call in (
        lambda: ialp_rllib.run(scenario, out=tmp_path / "out"),
        lambda: ialp_rllib.open_run(folder),
        lambda: plan_comparison([scenario], tmp_path / "out"),
    ):
        with pytest.raises(InputError, match="allow_plugins=True"):
            call()
    assert not imported()
    assert ialp_rllib.open_run(folder, allow_plugins=True).settings.adapt.plugins == (NAME,)
    assert imported()


def test_what_the_user_names_or_allows_is_imported(scenario: str, imported: Callable[[], bool], tmp_path: Path) -> None:
    for settings in (
        load(scenario, allow_plugins=True),
        load("sample", [f"adapt.plugins=[{NAME}]"]),
        load(scenario, [f"adapt.plugins=[{NAME}]"]),
    ):
        assert settings.adapt.plugins == (NAME,) and not imported()
    assert load(scenario, ["adapt.plugins=[]"]).adapt.plugins == ()
    RunFolder(settings, tmp_path)
    assert imported()


def test_commands_that_import_nothing_read_such_a_file(scenario: str, imported: Callable[[], bool]) -> None:
    for words in (["settings", "adapt", "--scenario", scenario], ["data", "validate", scenario]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output)
    assert not imported() and NAME not in METHODS
