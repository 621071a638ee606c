"""A run of `ialp lea` that is killed in every stage, in the middle of it, has the tables of one that is not."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ialp_rllib.agent.policy.offline import OfflineTraining
from ialp_rllib.progress import Progress
from ialp_rllib.stages.lea.recommend import RANKS, part_stage, parts_of, train_job
from ialp_rllib.stages.run import ALL_STAGES
from tests.stages.lea.small import MODULES, recommended, small_lea, until

SETTINGS = ("lea.rows=[base, leasr, llm_free]", "lea.environment.epochs=2", "lea.environment.checkpoint_every=1")


class Killed(Exception):
    """Ends a stage."""


class Mortal(Progress):
    """Lives for some updates."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._left = updates

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        self._left -= 1
        if not self._left:
            raise Killed


@pytest.mark.slow
def test_killed_in_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recommended(until(small_lea(tmp_path / "whole", *SETTINGS)))
    cut = until(small_lea(tmp_path / "cut", *SETTINGS), "prepare")
    for name in ("tokens", "environment", "augment"):
        stage, kills = cut.stage(name), 0
        for updates in (1, 2, 3):  # in the second environment, too
            folder = stage.open(keep=ALL_STAGES[name].in_parts)
            try:
                stage.finish(MODULES[name].run(cut, folder, Mortal(updates)), 0.0)
                break
            except Killed:
                kills += 1
        assert kills, name
        until(cut, name)
    epoch = OfflineTraining.run_epoch

    def once(training: OfflineTraining) -> None:
        if training.curve:
            raise Killed
        epoch(training)

    for row, seed in parts_of(cut.settings):
        monkeypatch.setattr(OfflineTraining, "run_epoch", once)
        with pytest.raises(Killed):
            train_job(cut.settings, str(cut.root), part_stage(cut, row, seed), row, seed)
        monkeypatch.setattr(OfflineTraining, "run_epoch", epoch)
    recommended(cut)
    paths = sorted(path.relative_to(whole.root) for path in (whole.root / "augment").rglob("part-*"))
    assert len(paths) >= 4
    for path in (Path("tokens/tokens.safetensors"), *paths):
        assert (whole.root / path).read_bytes() == (cut.root / path).read_bytes(), path
    for row, seed in parts_of(whole.settings):
        one, other = (pq.read_table(part_stage(run, row, seed).folder / RANKS) for run in (whole, cut))
        assert one.equals(other), row.name
