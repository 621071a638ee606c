"""What the learner tries, promotes and takes back, while operators do so, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ialp_rllib.serving.folder import ServiceFolder, create_service
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.serving.sessions import EndedSession
from ialp_rllib.serving.versions import Current
from tests.serving.small import N, make_artifact, make_service, play


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return make_service(tmp_path)


def ended(arm: str, version: int, mean: float, count: int = 60) -> list[EndedSession]:
    values = np.random.default_rng(0).normal(mean, 1.0, count)
    return [EndedSession(arm, version, float(value), ("i",), False, 2.0) for value in values]


def test_the_promoted_version_is_judged_while_another_is_tried(folder: ServiceFolder) -> None:
    learner = ServiceLearner(folder, lambda: 5.0)
    for _ in range(2):
        learner.versions.publish(learner.learner.weights(), 0.1, {}, 1.0)
    learner.versions.serve(Current(1, 2, 0, "", 1.0))
    learner.ledger.follow(1, 2, 1.0)
    learner.ledger.add(ended("control", 0, 30) + ended("promoted", 1, 10) + ended("canary", 2, 30))
    learner._guard()
    assert learner.versions.current()[:3] == (0, None, 0) and learner.ledger.served.since == 5.0
    assert "rolled back: version 1 returns 10" in learner.history.events[-2]["text"]


def test_what_an_operator_does_meanwhile_stays(folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback by hand while a version is published, or while the guard decides."""
    learner = ServiceLearner(folder, lambda: 5.0)
    versions = learner.versions
    versions.publish(learner.learner.weights(), 0.1, {}, 1.0)
    versions.serve(Current(1, None, 0, "", 1.0))
    by_hand = Current(0, None, 0, "by hand", 4.0)
    publish = versions.publish

    def meanwhile(*arguments: Any) -> int:
        versions.serve(by_hand)
        return publish(*arguments)

    learner._published_updates = -100
    with monkeypatch.context() as patch:
        patch.setattr(versions, "publish", meanwhile)
        learner._publish()
    assert versions.current() == by_hand
    learner._publish()  # the next turn tries one, from what is served now
    assert versions.current()[:3] == (0, 3, 0)
    seen = versions.current()
    versions.serve(by_hand)
    assert not learner._serve(Current(3, None, 0, "promoted", 5.0), seen, "promoted")
    assert versions.current() == by_hand


def test_the_first_version_is_tried_though_its_publisher_was_killed(tmp_path: Path) -> None:
    folder = create_service(tmp_path / "service", make_artifact(tmp_path / "policy"), ["learn=false"])
    learner = ServiceLearner(folder)
    learner.versions.publish(learner.learner.weights(), 0.1, {})
    learner.turn()
    assert learner.versions.current().canary == 2


def test_the_support_of_a_version_is_computed_in_blocks(folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = ServiceLearner(folder)
    play(folder, 20)
    learner.turn()
    version = learner.versions.load(1, folder.artifact.network)
    whole, counts = learner._support.effective_sample_size(version), []
    monkeypatch.setattr("ialp_rllib.serving.history._ENTRIES", 5 * N)
    choices = learner._support._policy.choices
    monkeypatch.setattr(
        learner._support._policy, "choices", lambda seen, arms: counts.append(len(seen)) or choices(seen, arms)
    )
    assert learner._support.effective_sample_size(version) == pytest.approx(whole) and 0 < whole <= 1
    assert max(counts) == 5 and len(counts) > 5


def test_a_version_whose_logits_overflow_is_taken_back(folder: ServiceFolder) -> None:
    """Its weights are finite, and pi_theta answers in its place: no session ever tells what it is worth."""
    learner = ServiceLearner(folder)
    bad = learner.learner.weights()
    for layer in (0, 2):
        bad[f"policy.actor.hidden.{layer}.weight"] *= 1e30
    learner.versions.publish(bad, 0.5, {})
    learner.versions.serve(Current(0, 1, 0, "", 1.0))
    decided = play(folder, 20)
    assert learner.turn() == decided
    current = learner.versions.current()
    assert current.canary != 1 and "probabilities were not finite" in learner.history.events[0]["text"]
    assert learner.ledger.counts["canary"] > 1 and learner.ledger.notes["fallback"] == learner.ledger.counts["canary"]
