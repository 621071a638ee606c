"""A run whose judge is asked for likelihoods: chosen and calibrated once, and asked so by all stages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ialp_rllib.errors import AtChanceError, InputError
from ialp_rllib.judge.choosing import ChosenForm
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.answers import ANSWER, read_form, write_form
from ialp_rllib.stages.judges import judge_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder

SMALL = (
    *("judge.answer=likelihood", "judge.likelihood.prompts=30", "judge.audit_prompts=40", "judge.tune.enabled=false"),
    *("distil.sessions=6", "distil.steps=2"),
)


def test_a_form_is_read_for_the_judge_that_it_was_chosen_for(tmp_path: Path) -> None:
    run = RunFolder(load("sample", SMALL), tmp_path)
    (tmp_path / "tune").mkdir()
    judge = run.settings.judge
    form = ChosenForm("likelihood", Calibration("mean", 0.5, 0.1, 0.2, 3.0), {"prompts": 30})
    assert read_form(run, judge, "tiny") is None
    with pytest.raises(InputError, match="not calibrated yet"):
        judge_of(run, judge, "tiny")
    write_form(run, judge, "tiny", form, tmp_path / "tune")
    assert read_form(run, judge, "tiny") == form
    assert read_form(run, dataclasses.replace(judge, cache="elsewhere", batch=7), "tiny") == form
    for change in ({"history": 3}, {"answer": "auto"}, {"dtype": "bfloat16"}, {"answer": "letter"}):
        assert read_form(run, dataclasses.replace(judge, **change), "tiny") is None


@pytest.mark.slow
def test_all_stages_ask_the_judge_in_the_chosen_form(ray_session: None, tmp_path: Path) -> None:
    refused = RunFolder(load("sample", SMALL), tmp_path / "run")
    with pytest.raises(AtChanceError, match="not better than chance"):  # the tiny judge knows letters only
        run_all(refused, Progress(), ("prepare", "tune"))
    run = RunFolder(load("sample", [*SMALL, "judge.allow_chance=true"]), tmp_path / "run")
    run_all(run, Progress(), ("tune", "distil"))
    kept = json.loads((run.root / "tune" / ANSWER).read_text())["form"]
    facts = run.facts("tune")
    assert facts["answer_form"] == kept and facts["answer"] == "likelihood" and "letter_bias" not in facts
    judge = judge_of(run)
    assert judge.answer_form.calibration == Calibration(**kept["calibration"])
    identity = json.loads((run.root / "distil" / "preferences.json").read_text())
    assert judge.info()["decoding"] in json.dumps(identity)
    judge.close()
