"""Paths and texts with characters that YAML, rich, SQL, globs and shells have a meaning for are taken as they are."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from ialp_rllib.cli import console
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.settings.overrides import as_text
from tests.cli.test_data import Ialp, ialp  # noqa: F401

ODD = [
    "data #1",
    "a[/b]c",
    "[red]x[/red]",
    "a: b",
    "{x: 1}",
    "it's",
    '"quoted"',
    ":smiley: :warning:",
    "*?[a-z]",
    "&x *y",
    "ünï ☂ 日本",
    "back\\slash\\",
    "%s {0} $HOME `id`",
    "yes",
    "!!int 3",
    "-rf",
    "a;b|c",
    "'; DROP TABLE log; --",
]


def shop(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"i{n},thing {n}\n" for n in range(6)))
    rows = (f"u{u},i{(u + s) % 6},{s}\n" for u in range(4) for s in range(3))
    (folder / "interactions.csv").write_text("user_id,item_id,position\n" + "".join(rows))
    return folder


@pytest.mark.parametrize("name", ODD)
def test_data_and_out(ialp: Ialp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:  # noqa: F811
    """The folder beside it, which a part of the name is the name of, is not read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    data, out = shop(tmp_path / name), tmp_path / f"out {name}"
    Path("mine.yaml").write_text("scenario: mine\ncatalogue: {attributes: [title]}\n")
    code, _, err = ialp("prepare", "mine.yaml", "--data", data, "--out", out)
    assert (code, "error" in err) == (0, False)
    assert yaml.safe_load((out / "settings.yaml").read_text())["catalogue"]["data"] == str(data)
    code, text, _ = ialp("data", "describe", "mine.yaml", "--data", data, "--json")
    assert code == 0 and json.loads(text)["items"] == 6
    code, text, err = ialp("data", "validate", "mine.yaml", "--data", data)
    assert code == 0, text + err
    (data / "items.csv").unlink()
    code, text, _ = ialp("data", "validate", "mine.yaml", "--data", data)
    assert code == 2 and name in "".join(text.split("│")).replace("\n", "").replace("  ", "") + text


@pytest.mark.parametrize("name", ODD)
def test_the_next_commands_of_init_can_be_copied(ialp: Ialp, tmp_path: Path, name: str) -> None:  # noqa: F811
    name = name.replace("/", "-")  # a scenario's name is that of a folder
    data, scenario = shop(tmp_path / name), tmp_path / f"{name}.yaml"
    code, text, err = ialp("init", data, "--out", scenario, "--name", name)
    assert code == 0, err
    [command] = [line for line in text.splitlines() if line.startswith("  ialp data validate")]
    assert ialp(*shlex.split(command)[1:])[0] == 0
    [judge] = [line for line in text.splitlines() if "--set" in line]
    [setting] = [word for word in shlex.split(judge[judge.index("--set") :].rstrip(":")) if "=" in word]
    assert load(str(scenario), [setting]).judge.model == f"{name}-judge"
    assert load(str(scenario)).scenario == name


@pytest.mark.parametrize("name", ODD)
def test_paths_are_printed_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Console(record=True, width=200, **console.LITERAL)
    monkeypatch.setattr(console, "messages", recorded)
    console.print_path("Report", Path("runs") / name)
    recorded.print(f"title: {name}")
    printed = recorded.export_text()
    assert f"Report: runs/{name}\n" in printed and f"title: {name}\n" in printed


@pytest.mark.parametrize("name", ODD)
def test_a_text_for_set(name: str) -> None:
    assert load("sample", [as_text("judge.model", name)]).judge.model == name
    assert load("sample", [("judge.model", name)]).judge.model == name


@pytest.mark.parametrize("text", ["data #1", "# all of it", "&anchor data", "[a] # b"])
def test_what_yaml_would_drop_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match=r"would be dropped") as error:
        load("sample", [f"catalogue.data={text}"])
    advised = shlex.split(error.value.expected.partition("--set ")[2])[0]
    assert load("sample", [advised]).catalogue.data == text


@pytest.mark.parametrize("text", ["data#1", "'data #1'", '"a # b"', "a&b"])
def test_what_yaml_keeps_is_no_error(text: str) -> None:
    assert load("sample", [f"catalogue.data={text}"]).catalogue.data == yaml.safe_load(text)
