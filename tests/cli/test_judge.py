"""`ialp judge audit` with the tiny judge: without tuning, and before and after tuning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ialp_rllib import settings
from ialp_rllib.cli import main as cli
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.run import audit_run
from ialp_rllib.stages.run import RunFolder
from tests.report.reading import Page
from tests.small_run import environment

SMALL = {
    "judge.engine": "transformers",
    "judge.audit_prompts": 12,
    "judge.tune.interactions": 16,
    "judge.tune.epochs": 1,
    "judge.tune.learning_rate": 1.0e-5,
}

# One process and one Ray instance for all audits: most of the time goes into starting them.
DRIVER = """
import json, sys
from pathlib import Path
from ialp_rllib import runtime
from ialp_rllib.cli.main import main
from ialp_rllib.settings import load
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.report.audit.run import audit_run
from ialp_rllib.progress import Progress

out, overrides = Path(sys.argv[1]), json.loads(sys.argv[2])
run = RunFolder(load("sample", [*overrides, "runtime.local_mode=true"]), out / "run")
audit_run(run, Progress(), prompts=4, page=out / "as-it-came.html")
run_all(run, Progress(), ["tune"])
sys.argv = ["ialp", "judge", "audit", "sample", "--out", str(run.root), "--local-mode"]
sys.argv += [word for override in overrides for word in ("--set", override)]
main()
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run whose judge was audited without tuning, tuned, and audited again; and what was printed."""
    out = tmp_path_factory.mktemp("audited")
    overrides = [f"{key}={value}" for key, value in SMALL.items()]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(out), json.dumps(overrides)],
        env=environment(),
        text=True,
        capture_output=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


def page(path: Path) -> str:
    return Page(path.read_text(encoding="utf-8")).text


def test_the_judge_without_tuning(audited: tuple[Path, str]) -> None:
    out, _ = audited
    assert (out / "run" / "prepare" / "manifest.json").is_file()  # the audit ran the stage that it reads
    text = page(out / "as-it-came.html")
    assert "of 4 held-out prompts" in text and "Before tuning" not in text
    assert "Imagine that you visit a music platform." in text


def test_before_and_after_tuning(audited: tuple[Path, str]) -> None:
    out, printed = audited
    tuned = json.loads((out / "run" / "tune" / "audit.json").read_text())
    assert (tuned["model"], tuned["prompts"], tuned["before"]["prompts"]) == ("tiny", 12, 6)
    assert tuned["before"]["model_fingerprint"] != tuned["model_fingerprint"]
    assert "popular" in tuned["negatives"] and "popular" not in tuned["before"]["negatives"]
    assert len(tuned["before"]["position"]["letters"]) == len(tuned["position"]["letters"]) == 10
    audit = json.loads((out / "run" / "audit" / "audit.json").read_text())
    assert audit["model"] == "tune/merged" and audit["model_fingerprint"] == tuned["model_fingerprint"]
    assert audit["before"] == tuned["before"]
    timeless = {key: value for key, value in audit.items() if "second" not in key and key != "model"}
    assert timeless == {key: tuned[key] for key in timeless}  # the same judge on the same prompts
    assert "model: tune/merged, engine: TransformersEngine" in printed
    assert "before tuning" in printed and "letter bias" in printed
    text = page(out / "run" / "audit" / "index.html")
    assert "Tuning changed its accuracy from" in text and "Before tuning the judge was asked 6 prompts" in text


def test_an_unknown_model_fails_before_anything_is_written(tmp_path: Path) -> None:
    run = RunFolder(settings.load("sample"), tmp_path / "run")
    with pytest.raises(InputError, match="no-such-model: no such folder"):
        audit_run(run, Progress(), model="./no-such-model")
    assert not run.root.exists()


def test_invalid_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in ((["--prompts", "0"], "--prompts"), (["--set", "judge.frame=3"], "judge.frame")):
        monkeypatch.setattr(sys, "argv", ["ialp", "judge", "audit", "sample", *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert end.value.code == 2
        assert message in out + err and "Traceback" not in err
