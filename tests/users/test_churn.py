"""Churn: who was pleased comes back."""

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


def test_the_chance_is_the_formula() -> None:
    churn = Churn(ChurnSettings(highest=0.8, middle=0.5, slope=4.0), scale=5.0, n=1)
    chance = churn.chance(np.array([0.0, 2.5, 5.0, -5.0]))
    assert chance[1] == pytest.approx(0.4)
    assert chance[2] == pytest.approx(0.8 / (1 + np.exp(-2)))
    assert chance[3] < chance[0] < chance[1] < chance[2] < 0.8


def test_chance_decides_by_the_mean_of_the_visit_just_ended() -> None:
    churn = Churn(ChurnSettings(sessions=3, highest=1.0, middle=0.5, slope=1000.0), scale=1.0, n=2)
    rng, nobody, all_ = np.random.default_rng(0), np.zeros(2, bool), np.ones(2, bool)
    assert not churn.step(nobody, np.array([1.0, 0.0]), rng).any()
    assert churn.step(all_, np.array([0.9, 0.0]), rng).tolist() == [True, False]  # means 0.95 and 0
    assert churn.step(all_, np.array([0.1, 0.9]), rng).tolist() == [False, False]  # 0.1, a visit of its own; 0.3
    churn.reset(all_)
    back = [churn.step(all_, np.ones(2), rng).tolist() for _ in range(3)]
    assert back == [[True, True], [True, True], [False, False]]  # three visits at most


def test_pleased_users_come_back_more_often_so_that_good_and_bad_policies_are_pulled_apart() -> None:
    gain = {}
    for name, policy in (("random", small.random_items), ("greedy", lambda: small.greedy)):
        plain, _ = small.play(small.make_world(horizon=25), policy())
        churned, lengths = small.play(small.make_world(horizon=25, churn={"sessions": 5}), policy())
        gain[name] = churned.mean() - plain.mean()
        assert lengths.max() <= 25  # the step limit holds over all visits
    assert gain["greedy"] > 4 * gain["random"] > 0


@pytest.mark.parametrize("keep", [True, False])
def test_a_visit_begins_with_the_session_kept_or_not(keep: bool) -> None:
    churn = {"sessions": 2, "highest": 1.0, "middle": 0.0, "slope": 1000.0, "keep_session": keep}
    env = UserVectorEnv(small.make_world(horizon=20, patience={"start": 4.0}, churn=churn), 1, history=20)
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
        if length == 1:  # the first item once more, and nothing else
            assert observation[0, -1] == start[0, -1]
            seen = [start[0, -1]]
        assert observation[0, -length:].tolist() == seen
        lengths.append(length)
    # Patience of 4 lasts three good steps: both visits count, and the second ends the episode.
    assert lengths == ([2, 3, 4, 5, 6, 7] if keep else [2, 3, 1, 2, 3, 4])


def test_a_bored_user_of_a_rating_world_comes_back_too() -> None:
    truth = np.random.default_rng(0).integers(1, 6, (small.USERS, small.ITEMS)).astype(np.float32)
    catalogue = dataclasses.replace(small.make_catalogue(), truth=truth)
    lengths = []
    for sessions in (1, 4):
        churn = {"sessions": sessions, "highest": 1.0, "middle": 0.0, "slope": 1000.0}
        tree = {"world": "rating", "protocol": "split", "churn": churn, "distance": {"distance": 0.1}}
        world = make_world(catalogue, from_dict(UsersSettings, tree, "test"), "train", None)
        lengths.append(small.play(world, small.always(3), n=20)[1].mean())
    assert lengths == [2, 5]  # the first repeat bores, and each one after it, as the session is kept


def test_a_rating_world_has_no_taste_to_shift() -> None:
    for name in ("segments", "drift"):
        with pytest.raises(InputError, match=rf"(?s)users\.{name}\.strength: is 1\.0.*rating world.*sequence"):
            from_dict(UsersSettings, {"world": "rating", name: {"strength": 1.0}}, "test")
