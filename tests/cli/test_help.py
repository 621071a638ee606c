"""What ``ialp --help`` says: every verb under a title, the scenarios that ship, the version."""

from __future__ import annotations

from typer.main import get_command
from typer.testing import CliRunner

from ialp_rllib import __version__
from ialp_rllib.cli.console import BUILT_IN
from ialp_rllib.cli.main import app
from ialp_rllib.settings.scenario import SCENARIOS


def test_the_scenarios_that_help_names_are_those_that_ship() -> None:
    assert sorted(BUILT_IN.split(", ")) == sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def test_every_verb_has_a_title_and_a_sentence() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.rich_help_panel and command.get_short_help_str(), name


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"ialp_rllib {__version__}\n"
