"""Simulated users ask a service in this process: sessions, returns, and feedback that is late, lost or doubled."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.serving.folder import create_service
from ialp_rllib.serving.join import Joiner
from ialp_rllib.serving.log import Tail
from ialp_rllib.serving.service import Service
from ialp_rllib.serving.simulate import Traffic, require_range
from ialp_rllib.serving.states import States
from ialp_rllib.settings.serving import TrafficSettings
from ialp_rllib.users.leaving import DistanceRule
from ialp_rllib.users.rewards import RatingReward
from ialp_rllib.users.simulator import World
from tests.serving.small import AGENT, ITEMS, NETWORK, N, make_artifact


def make_world(horizon: int = 5, shift: float = 0.0) -> World:
    from ialp_rllib.settings import DistanceSettings

    ratings = np.random.default_rng(0).uniform(0, 5, (4, N)).astype(np.float32) - np.float32(shift)
    return World(
        n_items=N,
        n_users=1,
        users=np.arange(4),
        starts=np.arange(4),
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(np.zeros((N, N), bool), DistanceSettings(window=3), horizon),
        horizon=horizon,
        memory=3,
        shows_user=False,
        reward_range=(0.0 - shift, 5.0 - shift),
    )


@pytest.mark.parametrize(("late", "lost", "twice"), [(0.0, 0.0, 0.0), (0.4, 0.2, 0.3)])
def test_all_that_was_shown_is_joined_once(tmp_path: Path, late: float, lost: float, twice: float) -> None:
    now = [1000.0]
    folder = create_service(tmp_path / "service", make_artifact(tmp_path / "policy"))
    service = Service(folder, seed=0, sync=False, clock=lambda: now[0])
    settings = TrafficSettings(users=6, late=late, lost=lost, twice=twice)
    traffic = Traffic(make_world(), ITEMS, (), settings)
    for _ in range(20):
        traffic.round(service.decide, service.store)
        now[0] += 1.0
    assert traffic.steps == 120 and len(traffic.returns) == 24
    decisions, feedback = Tail(folder.decisions).read(), Tail(folder.feedback).read()
    assert len(decisions) == 120
    joiner = Joiner(folder.settings.feedback, States(NETWORK, ITEMS))
    joined = joiner.add(decisions, feedback, now[0])
    later = joiner.add([], [], now[0] + 10_000)
    shown = len(joined) + len(later)
    if not lost:
        assert len(feedback) == 120 and len(joined) == 120
        np.testing.assert_allclose(sorted(s.reward for s in joined.sessions), sorted(traffic.returns), rtol=1e-5)
    else:
        assert 60 < len(feedback) < 160 and joiner.counts["feedback_twice_or_late"] > 0
        assert shown + joiner.counts["not_shown"] == 120 and joiner.counts["defaulted"] > 0
    assert joiner.open == 0


def test_a_world_whose_rewards_a_service_would_refuse_is_refused(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "policy", agent=dataclasses.replace(AGENT, feedback=3))
    feedback = artifact.settings().feedback
    require_range(make_world(), artifact, feedback)
    with pytest.raises(InputError, match="gives rewards from -1"):
        require_range(make_world(shift=2.0), artifact, feedback)
    with pytest.raises(InputError, match="levels of answers"):
        require_range(make_world(shift=2.0), artifact, dataclasses.replace(feedback, reward_low=-5.0))
