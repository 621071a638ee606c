"""A judge at chance ends the run, unless that is allowed; an oracle is never refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.cli import main as cli
from ialp_rllib.settings import load
from ialp_rllib.stages.run import RunFolder
from tests.docs.checks import check_ialp
from tests.small_run import SMALL

OPTIONS = {**SMALL, "judge.tune.enabled": "false", "judge.audit_prompts": 40}


def ialp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["ialp", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, " ".join((out + err).split())


@pytest.mark.parametrize("damage", [pytest.param("random", marks=pytest.mark.slow), "nan"])
def test_a_judge_at_chance(
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, out = tmp_path / "model", tmp_path / "run"
    shutil.copytree(package_data("tiny_judge"), model)
    weights = load_file(model / "model.safetensors")
    torch.manual_seed(1)
    for name, weight in weights.items():
        weights[name] = torch.full_like(weight, torch.nan) if damage == "nan" else torch.randn_like(weight) / 10
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    sets = [w for key, value in {**OPTIONS, "judge.model": model}.items() for w in ("--set", f"{key}={value}")]
    sets += ["--local-mode", "--out", str(out)]
    assert ialp(monkeypatch, capsys, "prepare", "sample", *sets)[0] == 0
    code, printed = ialp(monkeypatch, capsys, "tune", "sample", *sets)
    if damage == "nan" and "not better than chance" not in printed:  # refused when it is loaded
        assert code == 2, printed
        return
    assert code == 3, printed
    assert "not better than chance" in printed and "chance 0.100" in printed and "judge.allow_chance" in printed
    [command] = re.findall(r"`(ialp judge init .*?)`", printed)
    assert check_ialp(shlex.split(command)[1:]) == []
    assert not (out / "tune" / "manifest.json").exists()
    audited = (out / "tune" / "audit.json").stat().st_mtime_ns
    code, printed = ialp(monkeypatch, capsys, "tune", "sample", *sets, "--set", "judge.allow_chance=true")
    assert code == 0, printed
    assert "going on, because judge.allow_chance is set" in caplog.text
    facts = json.loads((out / "tune" / "manifest.json").read_text())["facts"]
    assert facts["above_chance"] is False
    assert (out / "tune" / "audit.json").stat().st_mtime_ns == audited  # nothing is asked twice


def test_allowing_it_runs_nothing_again() -> None:
    runs = [RunFolder(load("sample", [f"judge.allow_chance={value}"]), Path("x")) for value in ("true", "false")]
    assert runs[0].fingerprints.all() == runs[1].fingerprints.all()


@pytest.mark.slow
def test_an_oracle_that_knows_nothing_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = {"judge.model": "oracle", "judge.oracle.correlation": 0, "judge.oracle.none_below": 1}
    options = {**OPTIONS, **oracle, "users.sequence.epochs": 1, "distil.sessions": 16}
    sets = [w for key, value in options.items() for w in ("--set", f"{key}={value}")]
    for verb in ("prepare", "users", "tune", "distil"):
        code, printed = ialp(monkeypatch, capsys, verb, "sample", "--out", str(tmp_path / "run"), *sets)
        assert code == 0, printed
