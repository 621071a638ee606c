"""Stage ``users``: worlds that are fitted side by side are those fitted one after the other, and none twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import MANIFEST, STARTED, write_json
from ialp_rllib.users.fit import fit_users
from ialp_rllib.users.model_files import CONFIG, WEIGHTS
from ialp_rllib.users.worlds import SPLITS


@pytest.mark.slow  # six fits of the sample's users
def test_side_by_side_is_as_one_after_the_other_and_a_killed_fit_is_not_repeated(
    ray_session: None, tmp_path: Path
) -> None:
    run = RunFolder(load("sample", ["users.sequence.epochs=1"]), tmp_path / "run")
    run_all(run, Progress(), ("prepare", "users"))
    facts = fit_users(run.catalogue, run.settings.users, tmp_path / "plain")
    assert run.facts("users") == json.loads(json.dumps(facts))
    for split in SPLITS:
        for name in (WEIGHTS, CONFIG):
            assert (run.root / "users" / split / name).read_bytes() == (tmp_path / "plain" / split / name).read_bytes()

    times = {split: (run.root / "users" / split / WEIGHTS).stat().st_mtime_ns for split in SPLITS}
    folder = run.root / "users"  # now as a run leaves it that is killed while it fits the last world
    (folder / MANIFEST).unlink()
    write_json(folder / STARTED, {"stage": "users", "fingerprint": run.fingerprints["users"], "at": 0.0})
    (folder / "test" / MANIFEST).unlink()
    write_json(folder / "test" / STARTED, {"stage": "users test", "fingerprint": "", "at": 0.0})
    (folder / "test" / WEIGHTS).write_bytes(b"half")
    again = RunFolder(run.settings, run.root)
    run_all(again, Progress(), ("users",))
    assert again.facts("users") == run.facts("users")
    now = {split: (run.root / "users" / split / WEIGHTS).stat().st_mtime_ns for split in SPLITS}
    assert {split for split in SPLITS if now[split] != times[split]} == {"test"}
