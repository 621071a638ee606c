"""``ialp settings``, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ialp_rllib.cli.main import app
from ialp_rllib.errors import InputError
from ialp_rllib.settings.describe import BASIC, describe

BY_NAME = {info.name: info for info in describe()}


def ialp(*words: str) -> Result:
    done = CliRunner().invoke(app, ["settings", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def rows(*words: str) -> dict[str, list[str]]:
    """Setting -> the other cells of its row."""
    lines = [line.strip("│") for line in ialp(*words).stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.split(" │ ")] for line in lines]
    return {first: others for first, *others in cells}


def as_json(*words: str) -> dict[str, Any]:
    data = json.loads(ialp(*words, "--json").stdout)
    return data | {"settings": {entry["name"]: entry for entry in data["settings"]}}


def error(*words: str) -> InputError:
    with pytest.raises(InputError) as caught:
        ialp(*words)
    return caught.value


def test_the_basic_settings_one_row_each() -> None:
    shown = rows()
    assert list(shown) == [info.name for info in BY_NAME.values() if info.level == BASIC]
    assert shown["agent.gamma"] == ["0.9", "0 to 0.9999", "Discount factor."]
    for name, (default, allowed, doc) in shown.items():
        assert (allowed, doc) == (BY_NAME[name].range, BY_NAME[name].doc)
        assert default


def test_advanced() -> None:
    shown = rows("--advanced")
    assert list(shown) == list(BY_NAME)
    assert shown["agent.warmup"][2] == "advanced"
    hidden = len(BY_NAME) - len(rows())
    assert f"{hidden} advanced settings are not shown: --advanced" in ialp().stderr
    assert "not shown" not in ialp("--advanced").stderr


def test_a_group() -> None:
    done = ialp("adapt.alpha", "--advanced")
    assert done.stdout.startswith("adapt.alpha: Alpha, the weight of the learning policy")
    assert list(rows("adapt.alpha", "--advanced")) == [name for name in BY_NAME if name.startswith("adapt.alpha.")]
    assert list(rows("agent")) == [n for n, i in BY_NAME.items() if n.startswith("agent.") and i.level == BASIC]


def test_one_setting_and_a_group_without_basic_ones_are_shown_whatever_their_level() -> None:
    assert list(rows("agent.warmup")) == ["agent.warmup"]
    assert list(rows("users.drift")) == ["users.drift.strength", "users.drift.period"]


def test_the_values_of_a_scenario() -> None:
    shown = rows("--scenario", "coat")
    assert shown["users.horizon"][:2] == ["30 *", "20"]
    assert shown["users.protocol"][:2] == ["transfer", "transfer"]
    assert shown["users.deepfm.dropout"][:2] == ["0.4 *", "0.0"]  # advanced, but the scenario changes it
    assert "users.deepfm.epochs" not in shown
    assert "* differs from the default" in ialp("agent", "--scenario", "coat").stdout


def test_a_scenario_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("scenario: own\nagent: {history: 21, dim: 64}\nseeds: [0, 1]\n")
    entries = as_json("--scenario", str(tmp_path / "own.yaml"), "--advanced")["settings"]
    assert {name for name, entry in entries.items() if entry["changed"]} == {"scenario", "seeds", "agent.history"}
    assert (entries["seeds"]["value"], entries["seeds"]["default"]) == ([0, 1], [0])
    (tmp_path / "own.yaml").write_text("scenario: own\nagent: {histroy: 21}\n")
    assert error("--scenario", str(tmp_path / "own.yaml")).expected == "agent.history?"


def test_json() -> None:
    data = as_json("catalogue", "--advanced")
    assert data["scenario"] is None
    assert data["settings"]["catalogue.source"] == {
        "name": "catalogue.source",
        "default": "files",
        "type": "str",
        "low": None,
        "high": None,
        "choices": ["files", "coat", "lfm", "amazon"],
        "level": "basic",
        "doc": BY_NAME["catalogue.source"].doc,
        "group": "catalogue",
    }
    assert list(data["settings"]) == [name for name in BY_NAME if name.startswith("catalogue.")]
    assert data["groups"]["catalogue.filters"].startswith("Filters on the log")
    assert "changed" in as_json("agent", "--scenario", "sample")["settings"]["agent.dueling"]


def test_an_unknown_group_is_answered_with_the_nearest_names() -> None:
    wrong = error("agnt")
    assert (wrong.where, wrong.problem) == ("ialp settings agnt", "no such group or setting")
    assert wrong.expected.startswith("agent")
    assert error("alpha").expected == "adapt.alpha?"
    assert error("agent.updates").expected.startswith("pretrain.updates")
    assert error("judge.tune.").expected.startswith("judge.tune")
    assert "catalogue, users, judge" in error("xyzzy").expected
    assert len(str(error("x" * 5000))) < 500


def test_the_message_of_the_program() -> None:
    words = [sys.executable, "-c", "from ialp_rllib.cli.main import main; main()", "settings", "agnt"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1500)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ialp settings agnt: no such group or setting" in done.stderr
    assert "Traceback" not in done.stderr


def test_light() -> None:
    heavy = {"torch", "ray", "duckdb", "pandas", "transformers"}
    script = (
        "import sys\nfrom ialp_rllib.cli.main import app\n"
        "sys.argv = ['ialp', 'settings', '--scenario', 'coat', '--json']\n"
        "try:\n    app()\nexcept SystemExit:\n    "
        f"print('LOADED', *sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=1500)
    assert done.stderr.strip() == "LOADED", done.stderr
    assert json.loads(done.stdout)["scenario"] == "coat"
