"""The learner's actor: one per folder, and one that cannot start says so."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import ray

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.serving.actor import LearnerActor
from ialp_rllib.serving.folder import STATUS, ServiceFolder, create_service
from ialp_rllib.serving.service import STALE_POLLS, STALE_SECONDS, Service
from tests.serving.small import make_artifact


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return create_service(tmp_path / "service", make_artifact(tmp_path / "policy"), ["learn=false", "poll=0.01"])


def test_one_learner_works_in_a_folder(folder: ServiceFolder) -> None:
    written: list[Path] = []
    learner = LearnerActor(str(folder.root), lambda known: written.append(known.root), wait=0.0)
    assert learner.problem() is None
    problem = LearnerActor(str(folder.root), wait=0.0).problem()
    assert isinstance(problem, InputError) and "another run works here" in problem.problem
    while not (folder.root / STATUS).is_file() or not written:
        assert learner._thread.is_alive()
        time.sleep(0.05)
    learner.stop()
    assert written == [folder.root]
    after = LearnerActor(str(folder.root), wait=0.0)
    assert after.problem() is None
    after.stop()


def test_a_learner_that_cannot_start_says_why(folder: ServiceFolder) -> None:
    (folder.artifact.folder / "policy.json").write_text("{}")
    learner = LearnerActor(str(folder.root), wait=0.0)
    assert isinstance(learner.problem(), InputError)
    learner.stop()


@pytest.mark.slow
def test_a_service_does_not_start_without_its_learner(folder: ServiceFolder, ray_session: None) -> None:
    from ialp_rllib.serving.deployment import application, start_learner

    with pytest.raises(InputError, match=r"http\.token_file"):  # proxies would listen on the network
        application({"service": str(folder.root)})
    policy = folder.artifact.folder / "policy.json"
    whole = policy.read_text()
    learner = start_learner(folder.root)
    os.kill(ray.get(learner.pid.remote()), signal.SIGKILL)
    policy.write_text("{}")  # the learner that Ray starts again tries until this is mended
    time.sleep(20)
    policy.write_text(whole)
    (folder.root / STATUS).unlink(missing_ok=True)
    deadline = time.monotonic() + 300
    while not (folder.root / STATUS).is_file():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    ray.kill(learner)
    policy.write_text("{}")
    problem: IalpError | None = None
    while not isinstance(problem, InputError):  # the name of the killed one is free after a while
        try:
            start_learner(folder.root)
        except IalpError as error:
            problem = error
        assert time.monotonic() < deadline
    assert "policy" in problem.where


def test_a_service_without_its_learner_is_degraded(folder: ServiceFolder) -> None:
    now = [time.time() + 100]
    service = Service(folder, sync=False, clock=lambda: now[0])
    assert service.health()["status"] == "ok"  # it has just started
    now[0] += STALE_SECONDS + STALE_POLLS * folder.settings.poll + 1
    assert service.health()["status"] == "degraded"
    (folder.root / STATUS).write_text("{}")
    now[0] = time.time() + 1
    assert service.health()["status"] == "ok"
