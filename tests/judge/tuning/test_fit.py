"""The tuning loop: batches, epochs, early stopping, and resumption."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_model, resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.data import tuning_data
from ialp_rllib.judge.tuning.losses import mean_loss
from tests.conftest import REPOSITORY
from tests.judge.tuning.small import LONG, adapter, checkpoint, learn, sample, small_judge
from tests.small_run import environment


class Stopped(Exception):
    """Interrupts a tuning run."""


def stop_after(updates: int):
    def progress(done: int, total: int) -> None:
        if done == updates:
            raise Stopped

    return progress


def assert_same(left: Path, right: Path) -> None:
    first, second = adapter(left), adapter(right)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def exported_loss(out: Path, judge) -> float:
    """Label loss of the merged model on the held-out prompts."""
    _, catalogue = sample()
    tokens = PromptTokenizer(judge, PromptBuilder(catalogue, judge, ("genre",)), resolve_model("tiny"))
    data = tuning_data(judge, catalogue, tokens, ("genre",))
    return mean_loss(load_model(str(out / "merged"), "float32"), tokens, data.held_out, 8)


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    """46 prompts: two updates of 23 prompts, in four forward passes of 6, 6, 6 and 5."""
    options = {"interactions": 46, "held_out": 0.0, "epochs": 1}
    one = learn(tmp_path / "one", small_judge(batch=32, **options))
    four = learn(tmp_path / "four", small_judge(batch=8, accumulate=4, **options))
    assert one["updates"] == four["updates"] == 2
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=1e-5)
    assert four["accuracy"] == one["accuracy"]
    whole, parts = adapter(tmp_path / "one"), adapter(tmp_path / "four")
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, atol=2e-5, rtol=0)
    assert max(weight.abs().max() for name, weight in whole.items() if "lora_B" in name) > 1e-3


def test_early_stopping_exports_the_best_epoch(tmp_path: Path) -> None:
    judge = small_judge(interactions=24, held_out=0.5, epochs=12, early_stopping=2, learning_rate=2e-2, batch=12)
    facts = learn(tmp_path, judge)
    curve = facts["held_out_loss"]
    assert len(curve) == facts["updates"] < 12
    assert facts["kept_pass"] == np.argmin(curve) + 1 == len(curve) - 2
    assert exported_loss(tmp_path, judge) == pytest.approx(min(curve), abs=1e-3)
    assert max(curve) > min(curve) + 0.1


def test_without_early_stopping_the_last_epoch_is_exported(tmp_path: Path) -> None:
    judge = small_judge(interactions=24, held_out=0.5, epochs=3, early_stopping=0, learning_rate=2e-2, batch=12)
    facts = learn(tmp_path, judge)
    curve = facts["held_out_loss"]
    assert (len(curve), facts["kept_pass"]) == (3, 3)
    assert exported_loss(tmp_path, judge) == pytest.approx(curve[-1], abs=1e-3)
    assert curve[-1] > min(curve) + 0.1


def test_without_held_out_prompts_all_epochs_run(tmp_path: Path) -> None:
    facts = learn(tmp_path, small_judge(interactions=4, held_out=0.0, epochs=4, early_stopping=1))
    assert (facts["examples"], facts["held_out"], facts["held_out_loss"]) == (4, 0, [])
    assert (facts["updates"], facts["kept_pass"]) == (4, 4)


def test_divergence_is_reported(tmp_path: Path) -> None:
    """The weights overflow float16, and the loss becomes NaN. With smaller steps it would not."""
    options = {"learning_rate": 1.0, "epochs": 20, "warmup": 0.0}
    judge = dataclasses.replace(small_judge(max_skipped=1, **options), dtype="float16")
    with pytest.raises(InputError, match="diverged") as error:
        learn(tmp_path, judge)
    assert error.value.where == "judge.tune.learning_rate"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    return out, learn(out, small_judge(**LONG))


def test_killed_tuning_resumes_to_the_same_result(uninterrupted, tmp_path: Path) -> None:
    """With dropout, so that the random generator's state matters, too."""
    program = [sys.executable, "-m", "tests.judge.tuning.small", str(tmp_path)]
    process = subprocess.Popen(program, env=environment(), cwd=REPOSITORY)
    while not checkpoint(tmp_path).is_file():
        assert process.poll() is None, "the tuning ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "adapter").exists()
    whole, facts = uninterrupted
    updates: list[int] = []
    resumed = learn(tmp_path, small_judge(**LONG), lambda done, total: updates.append(done))
    assert 4 < updates[0] < facts["updates"], "it must resume, not restart"
    assert resumed == facts
    assert_same(tmp_path, whole)
    assert not checkpoint(tmp_path).parent.exists()


@pytest.fixture(scope="module", params=[0.0, 0.3])
def three_passes(request, tmp_path_factory: pytest.TempPathFactory):
    """A tuning run of three epochs of four updates, without and with dropout: settings, output folder, result."""
    judge = small_judge(epochs=3, dropout=request.param, checkpoint_every=1, early_stopping=2)
    out = tmp_path_factory.mktemp("whole")
    return judge, out, learn(out, judge)


@pytest.mark.parametrize("updates", [3, 9])
def test_tuning_resumes_from_any_update(three_passes, tmp_path: Path, updates: int) -> None:
    """Within the first epoch, and at the first update of the third."""
    judge, whole, facts = three_passes
    assert facts["updates"] == 12
    reported: list[int] = []
    with pytest.raises(Stopped):
        learn(tmp_path, judge, stop_after(updates))
    assert learn(tmp_path, judge, lambda done, total: reported.append(done)) == facts
    assert reported == list(range(updates, 13))  # the interrupted update is repeated
    assert_same(tmp_path, whole)


def test_failed_export_is_repeated_without_training(three_passes, tmp_path: Path) -> None:
    judge, whole, facts = three_passes
    obstacle = tmp_path / "adapter"
    obstacle.write_text("not a folder")
    with pytest.raises(ValueError, match="not a file"):
        learn(tmp_path, judge)
    obstacle.unlink()
    reported: list[int] = []
    assert learn(tmp_path, judge, lambda done, total: reported.append(done)) == facts
    assert reported == []
    assert_same(tmp_path, whole)


def test_checkpoint_of_other_settings_is_ignored(tmp_path: Path) -> None:
    judge = small_judge(epochs=1, checkpoint_every=1)
    with pytest.raises(Stopped):
        learn(tmp_path, judge, stop_after(3))
    path, saved = checkpoint(tmp_path), checkpoint(tmp_path).read_bytes()
    for change in ({"learning_rate": 1e-3}, {"none_share": 0.5}):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(saved)
        reported: list[int] = []
        learn(tmp_path, small_judge(**{"epochs": 1, **change}), lambda done, total, r=reported: r.append(done))
        assert reported[0] == 1
    path.parent.mkdir()
    path.write_bytes(saved)
    reported = []
    learn(tmp_path, small_judge(epochs=1, checkpoint_every=7), lambda done, total: reported.append(done))
    assert reported[0] == 3  # the interval between checkpoints does not matter


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    three_passes, tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: int
) -> None:
    judge, whole, facts = three_passes
    with pytest.raises(Stopped):
        learn(tmp_path, judge, stop_after(6))
    versions = sorted(checkpoint(tmp_path).parent.iterdir(), reverse=True)
    assert len(versions) == 2 and set(load_file(versions[0])) > {"random/cpu"}
    for path in versions[:damaged]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    reported: list[int] = []
    assert learn(tmp_path, judge, lambda done, total: reported.append(done)) == facts
    assert reported[0] == (5 if damaged == 1 else 1)
    assert caplog.text.count("is damaged") == damaged
    assert_same(tmp_path, whole)
