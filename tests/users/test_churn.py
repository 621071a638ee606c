"""Return visits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.settings import ChurnSettings, UsersSettings, from_dict
from ialp_rllib.users.churn import Churn
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.worlds import make_world
from tests.users import small


def test_return_probability() -> None:
    churn = Churn(ChurnSettings(highest=0.8, middle=0.5, slope=4.0), scale=5.0, n=1)
    p = churn.return_probability(np.array([0.0, 2.5, 5.0, -5.0]))
    assert p[1] == pytest.approx(0.4)
    assert p[2] == pytest.approx(0.8 / (1 + np.exp(-2)))
    assert p[3] < p[0] < p[1] < p[2] < 0.8


def test_return_depends_on_the_mean_reward_of_the_last_visit() -> None:
    churn = Churn(ChurnSettings(sessions=3, highest=1.0, middle=0.5, slope=1000.0), scale=1.0, n=2)
    rng, none, all_ = np.random.default_rng(0), np.zeros(2, bool), np.ones(2, bool)
    assert not churn.step(none, np.array([1.0, 0.0]), rng).any()
    assert churn.step(all_, np.array([0.9, 0.0]), rng).tolist() == [True, False]  # means 0.95 and 0
    assert churn.step(all_, np.array([0.1, 0.9]), rng).tolist() == [False, False]  # 0.1, of the second visit only; 0.3
    churn.reset(all_)
    returning = [churn.step(all_, np.ones(2), rng).tolist() for _ in range(3)]
    assert returning == [[True, True], [True, True], [False, False]]  # three visits at most


def test_return_visits_increase_the_difference_between_policies() -> None:
    gain = {}
    for name, policy in (("random", small.random_items), ("greedy", lambda: small.greedy)):
        plain, _ = small.play(small.make_world(horizon=25), policy())
        churned, lengths = small.play(small.make_world(horizon=25, churn={"sessions": 5}), policy())
        gain[name] = churned.mean() - plain.mean()
        assert lengths.max() <= 25  # the step limit holds over all visits
    assert gain["greedy"] > 4 * gain["random"] > 0


@pytest.mark.parametrize("keep", [True, False])
def test_session_is_kept_or_restarted_at_a_return_visit(keep: bool) -> None:
    churn = {"sessions": 2, "highest": 1.0, "middle": 0.0, "slope": 1000.0, "keep_session": keep}
    env = UserVectorEnv(small.make_world(horizon=20, patience={"start": 4.0}, churn=churn), 1, 20, "same_step")
    start, _ = env.reset(seed=0)
    seen, ended = [start[0, -1]], False
    lengths = []
    while not ended:
        item = small.greedy(env)
        observation, _, terminated, truncated, info = env.step(item)
        ended = bool(terminated[0])
        assert not truncated[0]
        if ended:
            observation = info["final_obs"]
        seen.append(item[0])
        length = int((observation[0, 1:] < small.ITEMS).sum())
        if length == 1:  # restarted with the first item only
            assert observation[0, -1] == start[0, -1]
            seen = [start[0, -1]]
        assert observation[0, -length:].tolist() == seen
        lengths.append(length)
    # Patience 4 lasts for three good steps per visit; the second visit ends the episode.
    assert lengths == ([2, 3, 4, 5, 6, 7] if keep else [2, 3, 1, 2, 3, 4])


def test_return_visits_in_a_rating_world() -> None:
    truth = np.random.default_rng(0).integers(1, 6, (small.USERS, small.ITEMS)).astype(np.float32)
    catalogue = dataclasses.replace(small.make_catalogue(), truth=truth)
    lengths = []
    for sessions in (1, 4):
        churn = {"sessions": sessions, "highest": 1.0, "middle": 0.0, "slope": 1000.0}
        tree = {"world": "rating", "protocol": "split", "churn": churn, "distance": {"distance": 0.1}}
        world = make_world(catalogue, from_dict(UsersSettings, tree, "test"), "train", None)
        lengths.append(small.play(world, small.always(3), n=20)[1].mean())
    assert lengths == [2, 5]  # the first repeat ends a visit, and so do all later ones, as the session is kept


def test_tastes_are_rejected_in_a_rating_world() -> None:
    for name in ("segments", "drift"):
        with pytest.raises(InputError, match=rf"(?s)users\.{name}\.strength: is 1\.0.*rating world.*sequence"):
            from_dict(UsersSettings, {"world": "rating", name: {"strength": 1.0}}, "test")
