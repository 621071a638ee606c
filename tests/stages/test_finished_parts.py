"""A job that waited for another one finds its part finished, and leaves it as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ialp_rllib.settings import load
from ialp_rllib.stages import adapt, joint, pretrain, users, warm
from ialp_rllib.stages.lea import recommend
from ialp_rllib.stages.lea.rows import Row
from ialp_rllib.storage import Stage

JOBS: dict[str, tuple[Callable[..., list[str]], tuple[Any, ...]]] = {
    "adapt": (adapt.train_job, ("a2c", 0)),
    "pretrain": (pretrain.train_job, (0, None)),
    "warm": (warm.train_job, (0,)),
    "joint": (joint.train_job, (0,)),
    "users": (users.fit_job, ("train",)),
    "recommend": (recommend.train_job, (Row("base", "sasrec"), 0)),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_finished_part_is_not_made_again(name: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "part", name, "print", ("made",))
    (stage.open() / "made").write_text("by another job")
    stage.finish({}, 1.0)
    before = stage.manifest()
    job, arguments = JOBS[name]
    assert job(load("sample"), str(tmp_path / "no run"), stage, *arguments) == []
    assert stage.manifest() == before and stage.up_to_date()
