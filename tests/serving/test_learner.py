"""What learns in a service is what learns in a run, and a killed learner learns everything once."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS
from ialp_rllib.agent.policy.saved import read_weights
from ialp_rllib.agent.rllib.alone import LearnerAlone, mixture_config
from ialp_rllib.results.logged import check_logged
from ialp_rllib.serving.artifact import BETA, THETA, Artifact
from ialp_rllib.serving.folder import ServiceFolder
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.settings import AlphaSettings
from tests.serving.small import AGENT, L, N, make_artifact, make_service, play


def transitions(count: int, seed: int = 0, odds: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    seen = rng.integers(N, size=(count, 1 + L)).astype(np.int32)
    seen[:, 0] = 0
    item = rng.integers(N, size=count)
    following = np.concatenate([seen[:, :1], seen[:, 2:], item[:, None].astype(np.int32)], 1)
    names = (ODDS, NEXT_ODDS) if odds else ()
    return {name: rng.normal(0, 2, count).astype(np.float32) for name in names} | {
        "obs": seen,
        "actions": item,
        "rewards": rng.uniform(0, 5, count).astype(np.float32),
        "new_obs": following,
        "terminateds": rng.random(count) < 0.1,
        "truncateds": np.zeros(count, bool),
    }


def make_learner(artifact: Artifact, agent: Any = AGENT, by: str = "step") -> LearnerAlone:
    alpha = AlphaSettings(start=0.3, steps=60, shape="evidence", by=by)
    paths = str(artifact.weights(THETA)), str(artifact.weights(BETA))
    return LearnerAlone(mixture_config(agent, alpha, artifact.network, *paths, 4), artifact.network, 4)


@pytest.mark.parametrize("by", ["step", "session"])
def test_the_service_learns_as_a_run_does(tmp_path: Path, ray_session: None, by: str) -> None:
    """Equal transitions end in equal weights, alpha and losses, to the bit."""
    from ray.tune.registry import register_env

    from ialp_rllib.agent.trainer import build
    from ialp_rllib.users.env import UserVectorEnv
    from tests.agent.small import make_world

    artifact = make_artifact(tmp_path, agent=dataclasses.replace(AGENT, updates_per_step=2))
    alone = make_learner(artifact, artifact.agent, by)
    alpha = AlphaSettings(start=0.3, steps=60, shape="evidence", by=by)
    config = mixture_config(
        artifact.agent, alpha, artifact.network, str(artifact.weights(THETA)), str(artifact.weights(BETA)), 4
    )
    world = make_world(N)
    register_env("service-users", lambda c: UserVectorEnv(world, c["num_envs"], L, "same_step"))
    config.environment("service-users").env_runners(num_env_runners=0)
    run = build(config, 4)
    columns = transitions(62, odds=by == "session")
    assert alone.learn({k: v[:7] for k, v in columns.items()}) == 0
    alone.learn({k: v[7:] for k, v in columns.items()})
    for start in range(0, 60, AGENT.envs):
        run.replay.add({k: v[start : start + AGENT.envs] for k, v in columns.items()})
        run.env_steps += AGENT.envs
        if count := run.replay.updates_due(artifact.agent):
            run._update(count)
    assert (alone.env_steps, alone.updates) == (run.env_steps, run.updates) == (60, 28)
    expected = run.policy_weights()
    for name, tensor in alone.weights().items():
        assert torch.equal(tensor, expected[name]), name
    assert alone.alpha == run.progress()["alpha"] != 0.3
    assert alone.losses == run.losses()
    run.stop()


def test_a_learner_goes_on_to_the_bit(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path)
    one, two = make_learner(artifact), make_learner(artifact)
    columns = transitions(90)
    one.learn({k: v[:50] for k, v in columns.items()})
    two.set_state(one.get_state())
    for learner in (one, two):
        learner.learn({k: v[50:] for k, v in columns.items()})
    assert one.updates == two.updates > 10 and one.alpha == two.alpha
    for name, tensor in one.weights().items():
        assert torch.equal(tensor, two.weights()[name]), name
    two.set_weights({k: torch.zeros_like(v) for k, v in one.weights().items()})
    assert all(float(v.abs().sum()) == 0 for v in two.weights().values())


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return make_service(tmp_path)


def run_to_end(learner: ServiceLearner) -> int:
    learnt = learner.turn()
    while more := learner.turn():
        learnt += more
    return learnt


def test_it_learns_publishes_promotes_and_seals(folder: ServiceFolder) -> None:
    learner, versions = ServiceLearner(folder), Versions(folder.root)
    learner.turn()
    assert versions.current().canary == 1 and versions.describe(1)["alpha"] == pytest.approx(0.1)
    decided = play(folder, 36)
    assert run_to_end(learner) == decided
    assert learner.learner.env_steps == decided - decided % AGENT.envs and learner.learner.updates > 10
    learner.checkpoint()
    parts = sorted(folder.sealed.glob("*.parquet"))
    table = check_logged(pq.read_table(parts), "log")
    assert table.num_rows == decided and set(table["arm"].to_pylist()) == {"control", "canary", "promoted"}
    status = learner.status()
    assert status["learner"]["updates"] == learner.learner.updates and len(status["points"]) == 1
    assert sum(point["all"][1] for point in status["points"]) == 25
    assert any("is tried" in event["text"] for event in status["events"])


def test_a_killed_learner_learns_everything_once(folder: ServiceFolder, tmp_path: Path) -> None:
    """Stopped after any turn and begun anew from the checkpoint, it ends with the weights of the one that was not."""
    import ialp_rllib.serving.learner as module

    decided = play(folder, 24)
    now = folder.decisions.stat().st_mtime
    results = []
    for kills in (False, True):
        root = tmp_path / f"copy-{kills}"
        copy = dataclasses.replace(folder, root=root)
        for kind in ("decisions", "feedback"):
            (root / "log").mkdir(parents=True, exist_ok=True)
            (root / "log" / kind).symlink_to(folder.root / "log" / kind)
        module_limit, module._FEEDBACK_ROWS = module._FEEDBACK_ROWS, 20
        try:
            learner, learnt = ServiceLearner(copy, lambda: now), 0
            for turn in range(-(-2 * decided // 20)):
                learnt += learner.turn()
                if kills and turn % 3 == 2:
                    learner = ServiceLearner(copy, lambda: now)
        finally:
            module._FEEDBACK_ROWS = module_limit
        assert learnt == decided and learner.joiner.open == 0
        learner.checkpoint()
        sealed = pq.read_table(sorted(copy.sealed.glob("*.parquet")))["decision"].to_pylist()
        assert len(sealed) == len(set(sealed)) == decided
        results.append((learner.learner.weights(), learner.learner.updates))
    assert results[0][1] == results[1][1] > 10
    for name, tensor in results[0][0].items():
        assert torch.equal(tensor, results[1][0][name]), name


def test_parts_of_a_process_that_was_killed_before_its_checkpoint_are_written_again(folder: ServiceFolder) -> None:
    play(folder, 10)
    learner = ServiceLearner(folder)
    learner.turn()
    learner.checkpoint()
    (folder.sealed / "part-000099.parquet").write_bytes(b"of a killed process")
    again = ServiceLearner(folder)
    assert again.sealed.parts == learner.sealed.parts
    assert not (folder.sealed / "part-000099.parquet").exists()


def test_what_is_not_finite_is_never_published(folder: ServiceFolder) -> None:
    learner = ServiceLearner(folder)
    learner.turn()
    learner.versions.serve(learner.versions.current()._replace(promoted=1, canary=None))
    with torch.no_grad():
        learner.learner._module.policy.actor.bias[0] = torch.nan
    learner._published_updates = -100
    learner._publish()
    assert learner.versions.numbers() == [1]
    assert "refused" in learner.history.events[-1]["text"]
    weights = learner.learner.weights()
    assert torch.equal(weights["policy.actor.bias"], learner.versions.weights(1)["policy.actor.bias"])


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_was_taken_back_is_unlearnt(by_hand: bool, folder: ServiceFolder) -> None:
    """By whom ever; the next version is learnt from the good one, with its alpha, and not published at once."""
    learner = ServiceLearner(folder)
    learner.turn()
    learner.versions.serve(learner.versions.current()._replace(promoted=1, canary=None))
    learner.turn()
    good, updates = learner.learner.weights(), learner.learner.updates
    play(folder, 30)
    run_to_end(learner)
    assert learner.learner.updates >= updates + 5 and learner.versions.current().canary == 2
    assert learner.versions.describe(2)["facts"]["clock"] > learner.versions.describe(1)["facts"]["clock"] == 0
    if by_hand:
        learner.versions.serve(Current(1, None, 0, "rolled back, by hand", 5.0))
        learner._follow(learner.versions.current())
    else:
        learner.ledger.decide([{"arm": "canary", "version": 2, "t": 0.0, "fallback": "not finite"}])
        learner._guard()
    assert learner.versions.current()[:2] == (1, None)
    for name, tensor in learner.learner.weights().items():
        assert torch.equal(tensor, good[name]), name
    assert (learner.learner.clock, learner.learner.updates) == (0.0, learner._published_updates)
    assert "version 2 was taken back; learning goes on from version 1" in learner.history.events[-1]["text"]
    learner._publish()
    assert learner.versions.numbers() == [1, 2]


def test_after_the_first_version_was_taken_back_it_learns_from_theta(folder: ServiceFolder) -> None:
    learner = ServiceLearner(folder)
    learner.turn()
    learner.versions.serve(Current(0, None, 0, "rolled back, by hand", 5.0))
    learner.turn()
    theta = read_weights(folder.artifact.weights(THETA))
    assert all(torch.equal(tensor, theta[name]) for name, tensor in learner.learner.weights().items())
    learner.turn()
    assert learner.versions.numbers() == [1]


def test_a_backlog_is_read_to_its_end_before_anybody_is_late(
    folder: ServiceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day later, with more unread answers than one turn takes, in turns that go on from a checkpoint."""
    monkeypatch.setattr("ialp_rllib.serving.learner._FEEDBACK_ROWS", 7)
    decided, day = play(folder, 12), time.time() + 86_400
    learner = ServiceLearner(folder, lambda: day)
    learnt = learner.turn() + learner.turn()
    learner = ServiceLearner(folder, lambda: day)
    while learner.joiner.open or learner.joiner.counts["feedback"] < decided:
        learnt += learner.turn()
    assert learnt == decided and "defaulted" not in learner.joiner.counts
    learner.checkpoint()
    rows = pq.read_table(sorted(folder.sealed.glob("*.parquet")))
    assert rows.num_rows == decided and learner.joiner.counts["joined"] == decided
    later = ServiceLearner(folder, lambda: day + 86_400)
    assert later._now == day


def test_sealed_parts_are_kept_where_no_checkpoint_is_left(folder: ServiceFolder) -> None:
    play(folder, 10)
    learner = ServiceLearner(folder)
    learner.turn()
    learner.checkpoint()
    known = {path.name: path.read_bytes() for path in folder.sealed.iterdir()}
    shutil.rmtree(folder.learner)
    again = ServiceLearner(folder)
    aside = folder.root / "log" / "sealed-before-1"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == known
    assert "sealed-before-1 is kept" in again.history.events[-1]["text"]
    again.turn()
    again.checkpoint()
    assert {path.name: path.read_bytes() for path in folder.sealed.iterdir()} == known


def test_what_takes_over_goes_on_with_replay_and_time(tmp_path: Path) -> None:
    """Also of a schedule by evidence, whose clock is not the number of steps; one that is not finite starts over."""
    artifact = make_artifact(tmp_path)
    old, new, last = (make_learner(artifact) for _ in range(3))
    old.learn(transitions(50))
    old._module.clock.fill_(7.0)
    new.take_over(old)
    assert new._waiting is old._waiting and len(new._waiting["actions"]) == 2
    assert (new.env_steps, new.updates) == (old.env_steps, old.updates)
    new.learn(transitions(6))
    assert 7.0 < float(new._module.clock) < 7.0 + 2 * 8 * new._module.schedule.pace
    old._module.clock.fill_(torch.nan)
    last.take_over(old)
    assert last.alpha == pytest.approx(0.3)
