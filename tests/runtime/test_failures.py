"""What Ray loses becomes one sentence; an exception of code that ran in a task keeps its own traceback."""

from __future__ import annotations

import os
import re
import signal
import traceback
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from ialp_rllib import runtime
from ialp_rllib.cli import main
from ialp_rllib.errors import IalpError, InputError


def task_error(cause: Exception) -> ray.exceptions.RayTaskError:
    error = ray.exceptions.RayTaskError("train_job", f"ray::train_job()\n{type(cause).__name__}: {cause}", cause)
    return error.as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ray.exceptions.WorkerCrashedError(), "ended unexpectedly"),
        (ray.exceptions.OutOfMemoryError("Task was killed\nmuch more"), r"out of memory(.|\n)*Ray: Task was killed$"),
        (ray.exceptions.ObjectStoreFullError("full"), "/dev/shm"),
        (ray.exceptions.OutOfDiskError("full"), "disk"),
        (ray.exceptions.NodeDiedError("gone"), "node of Ray was lost"),
        (ray.exceptions.LocalRayletDiedError(), "node of Ray was lost"),
        (ray.exceptions.GetTimeoutError("late"), "in time"),
        (ray.exceptions.ActorDiedError(), "depend on ended"),
        (ray.exceptions.ActorUnavailableError("away", None), "cannot be reached"),
        (ray.exceptions.OwnerDiedError("00", None, ""), "ended unexpectedly"),
        (ray.exceptions.TaskUnschedulableError("no CPU"), "No node"),
        (task_error(ray.exceptions.ActorDiedError()), "depend on ended"),
        (task_error(task_error(ray.exceptions.OutOfMemoryError("x"))), "out of memory"),
    ],
)
def test_a_loss_is_one_sentence(error: Exception, words: str) -> None:
    said = runtime.explain(error)
    assert type(said) is IalpError and re.search(words, str(said)), said
    assert "the same command continues" in str(said) and len(str(said).splitlines()) <= 2


def test_every_kind_of_error_that_ray_has_is_known_or_left_alone() -> None:
    """A new kind in a new Ray is noticed here: it gets a sentence, or is listed as one that cannot be met."""
    cannot_be_met = {
        *("RayError", "CrossLanguageError", "TaskCancelledError", "RayTaskError", "UserCodeException"),
        "AsyncioActorExit",
        *("TaskPlacementGroupRemoved", "ActorPlacementGroupRemoved", "PendingCallsLimitExceeded"),
        *("ObjectRefStreamEndOfStreamError", "OufOfBandObjectRefSerializationException", "UnserializableException"),
        *("ActorAlreadyExistsError", "ActorHandleNotFoundError"),
    }
    known = tuple(kind for kinds, _ in runtime.failures._SENTENCES for kind in kinds)
    for name, kind in vars(ray.exceptions).items():
        if isinstance(kind, type) and issubclass(kind, ray.exceptions.RayError):
            assert issubclass(kind, known) or name in cannot_be_met, name


def test_our_own_errors_come_out_of_tasks_as_they_are() -> None:
    own = InputError("items.csv, row 3", "no id")
    assert runtime.explain(task_error(own)) is own
    assert runtime.explain(task_error(task_error(own))) is own


def test_a_plugins_exception_keeps_its_traceback_and_says_where() -> None:
    error = task_error(ZeroDivisionError("in my method"))
    said = runtime.explain(error)
    text = "".join(traceback.format_exception(said))
    assert said is error and "ZeroDivisionError: in my method" in text
    assert "raised in train_job, which ran in another process" in text and text.count("another process") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ray.exceptions.ActorDiedError(), "error A process of this run that others depend on ended unexpectedly"),
        (task_error(InputError("items.csv, row 3", "no id")), "error items.csv, row 3: no id"),
    ],
)
def test_no_raw_error_of_ray_leaves_the_command_line(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(main.atexit, "register", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == (2 if "items.csv" in expected else 1)
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(expected) and "Traceback" not in said


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(folder: str) -> str:
    try:
        Path(folder, "died").touch(exist_ok=False)
    except FileExistsError:
        return "second try"
    die()
    raise AssertionError


def test_a_job_whose_process_is_killed_is_run_again(ray_session: None, tmp_path: Path) -> None:
    assert runtime.run_jobs(die_once, [(str(tmp_path),)]) == ["second try"]


@pytest.mark.slow
def test_a_job_whose_process_is_killed_every_time_is_one_sentence(ray_session: None) -> None:
    with pytest.raises(IalpError, match="ended unexpectedly"):
        runtime.run_jobs(die, [()])


@pytest.mark.slow
def test_a_trial_whose_process_is_killed_once_is_run_again(ray_session: None, tmp_path: Path) -> None:
    def trial(config: dict[str, Any]) -> None:
        marker = Path(config["folder"]) / f"died-{config['number']}"
        if config["number"] == 0 and not marker.exists():
            marker.touch()
            die()
        tune.report({"done": config["number"]})

    space = {"folder": str(tmp_path), "number": tune.grid_search([0, 1])}
    assert runtime.fit(trial, space, tmp_path / "experiment") == [
        runtime.Fitted({"folder": str(tmp_path), "number": number}, None) for number in (0, 1)
    ]
    assert (tmp_path / "died-0").exists()
