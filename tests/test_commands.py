"""Printed commands: quoted for a shell, and parsed by the real command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ialp_rllib.catalogue.guess.failures import check_archives
from ialp_rllib.commands import command, resume_command
from ialp_rllib.errors import InputError
from ialp_rllib.judge.oracle.truth import make_truth
from ialp_rllib.judge.tuning.data import _other_run
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.pipeline import run_stage
from ialp_rllib.stages.run import RunFolder
from tests.docs.checks import check_ialp

ODD = ["a b", "it's", "$(touch x)", "a;b", "#1", "[/b]", "-x", "ü", "a=b", "*", '"', "a\\b", "~x"]


def printed(message: str) -> list[str]:
    """The words of the one command in backquotes, as a shell splits them."""
    [text] = re.findall(r"`(ialp .*?)`", message)
    return shlex.split(text)


@pytest.mark.parametrize("name", ODD)
def test_a_pasted_command_has_the_arguments_that_were_given(name: str) -> None:
    override = f"judge.platform='{name.replace(chr(39), chr(39) * 2)}'"
    words = shlex.split(command("run", "sample", data=name, out=Path(name), overrides=[override], local_mode=True))
    assert check_ialp(words[1:]) == []
    path = f"./{name}" if name.startswith("-") else name
    assert words[2:] == ["sample", "--data", path, "--out", path, "--set", override, "--local-mode"]
    assert load("sample", [words[words.index("--set") + 1]]).judge.platform == name


def test_a_stage_that_is_needed_first_is_run_with_the_same_settings(tmp_path: Path) -> None:
    run = RunFolder(load("sample", ["users.horizon=7", "judge.platform='a, b: c'"]), tmp_path / "my run")
    run.write_settings()
    with pytest.raises(InputError) as error:
        run_stage(run, "users", Progress())
    words = printed(error.value.expected)
    assert check_ialp(words[1:]) == []
    assert words == ["ialp", "prepare", str(run.root / "settings.yaml"), "--out", str(run.root)]
    assert load(words[2]) == run.settings


def test_other_messages_with_a_command(tmp_path: Path) -> None:
    run = RunFolder(load("sample"), tmp_path / "a run")
    run.write_settings()
    messages = [f"`{resume_command('adapt', run.root)}`"]
    with pytest.raises(InputError) as error:
        _other_run(run.settings.judge, str(run.root))
    messages.append(error.value.expected)
    with pytest.raises(InputError) as error:
        make_truth(None, run.settings.users, run.root / "users")  # type: ignore[arg-type]
    messages.append(error.value.expected)
    with pytest.raises(InputError) as error:
        check_archives("my data", ["train.ascii", "user_item_features"])
    messages.append(f"`{error.value.expected}`")
    for message in messages:
        assert check_ialp(printed(message)[1:]) == [], message
