"""References: the best list for everybody, greedy on the train world's user model, and the recommender of LEA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from ialp_rllib.agent.methods import METHODS, resolve
from ialp_rllib.agent.policy import references
from ialp_rllib.agent.policy.acting import in_order
from ialp_rllib.agent.policy.offline import NetworkScorer
from ialp_rllib.agent.policy.offline_files import load_recommender
from ialp_rllib.agent.policy.saved import load_policy, save_policy
from ialp_rllib.agent.rllib import weights
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.references import RecommenderModule
from ialp_rllib.catalogue.ranking_split import Cases
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings, from_dict, load
from ialp_rllib.users import planning
from ialp_rllib.users.sequence import SequenceModel
from ialp_rllib.users.simulator import World
from ialp_rllib.users.worlds import sequence_world
from tests.agent.small import make_method, write_recommender, write_user_model
from tests.users.small import make_catalogue

HORIZON, ITEMS = 6, 20
SETTINGS = load("sample", [f"users.horizon={HORIZON}"])


def brute_force(model: SequenceModel, starts: list[int], length: int) -> list[int]:
    """The list by its definition: for each place every item is tried after every user's session, one by one."""
    chosen: list[int] = []
    for _ in range(length):
        means = {}
        for item in range(ITEMS):
            if item not in chosen:
                liked = []
                for start in starts:
                    held = [start, *chosen]
                    session = torch.tensor([[ITEMS] * (8 - len(held)) + held])
                    with torch.no_grad():
                        p = float(torch.sigmoid(model(session, torch.tensor([[item]]))))
                    liked.append(0.0 if item in held else p)
                means[item] = np.mean(liked)
        chosen.append(max(means, key=means.__getitem__))
    return chosen


def test_the_best_list_is_the_one_of_its_definition(tmp_path: Path) -> None:
    model = write_user_model(tmp_path)
    starts = [2, 3, 4, 5, 6, 7, 8, 9]  # the train users' first items
    expected = brute_force(model, starts, HORIZON + 1)
    assert planning.best_list(model, np.array(starts), HORIZON + 1).tolist() == expected
    scores = references.best_list(SETTINGS, make_catalogue(items=ITEMS), tmp_path)["scores"]
    assert np.argsort(-scores, kind="stable")[: HORIZON + 1].tolist() == expected and (scores > 0).sum() == HORIZON + 1


def test_the_list_ends_with_the_catalogue(tmp_path: Path) -> None:
    found = planning.best_list(write_user_model(tmp_path), np.array([0]), 50)
    assert sorted(found.tolist()) == list(range(ITEMS))


def world(model: SequenceModel) -> World:
    tree = {"world": "sequence", "horizon": HORIZON, "sequence": {"dim": 8, "window": 8}}
    return sequence_world(make_catalogue(items=ITEMS), from_dict(UsersSettings, tree, "test"), np.arange(10), model)


def algorithm_of(name: str, root: Path, model: SequenceModel) -> IALP:
    features = resolve(METHODS[name].features)(SETTINGS, make_catalogue(items=ITEMS), root)
    users = world(model)
    options: dict[str, Any] = {"agent": {"mask_recent": -1, "history": 8}, "worlds": {"train": users, "test": users}}
    return make_method(name, features=features, **options)


@pytest.mark.usefixtures("ray_session")
def test_greedy_on_the_model_is_what_the_planner_plays(tmp_path: Path) -> None:
    model = write_user_model(tmp_path)
    algorithm = algorithm_of("model_greedy", tmp_path, model)
    results = algorithm.evaluate()["env_runners"]
    env = algorithm.eval_env_runner_group.local_env_runner.env
    everybody = planning.greedy_on_model(env.sim.world, model, 300, 0)
    assert results["greedy"]["return"] == pytest.approx(everybody["return"], rel=0.05)  # 30 episodes of the 10 users
    observation, _ = env.reset(seed=0)
    session = torch.from_numpy(observation[:, 1:]).long()
    module = algorithm.env_runner_group.local_env_runner.module
    expected = planning.score_all(model, session, model.table())
    assert torch.equal(module.act(torch.from_numpy(observation), "greedy"), expected.argmax(1))
    probs = module.acting_probs(torch.from_numpy(observation))
    assert torch.allclose(probs[:, :-1], torch.softmax(expected, -1)) and (probs[:, -1] == 0).all()
    acting = weights.acting(algorithm.learner_group)
    save_policy(tmp_path, acting.weights, method="model_greedy", **{k: getattr(acting, k) for k in ("acts", "network")})
    with pytest.raises(InputError, match="'model_greedy' acts by code of its own"):
        load_policy(tmp_path)
    algorithm.stop()


@pytest.mark.parametrize("masks_seen", [True, False])
def test_the_recommender_of_lea_acts_as_it_ranks(tmp_path: Path, masks_seen: bool) -> None:
    """Its softmax over what the history of the log would be, of short, long and full sessions."""
    write_recommender(tmp_path, masks_seen)
    config = {"recommender": str(tmp_path), "mask_recent": 1, "history": 8}
    space = gym.spaces.MultiDiscrete([7] + [ITEMS + 1] * 8)
    module = RecommenderModule(observation_space=space, action_space=gym.spaces.Discrete(ITEMS), model_config=config)
    rng = np.random.default_rng(0)
    sessions = [rng.permutation(ITEMS)[:size] for size in (1, 2, 4, 5, 6, 8)]
    observation = torch.full((len(sessions), 9), ITEMS)
    for row, session in zip(observation, sessions, strict=True):
        row[9 - len(session) :] = torch.from_numpy(session)
    item, stop = np.concatenate(sessions), np.cumsum([len(session) for session in sessions])
    start = np.append(0, stop[:-1])
    scores = NetworkScorer(load_recommender(tmp_path).network)(Cases(item, start, stop, np.arange(6)))
    for row, session in zip(scores, sessions, strict=True):
        row[torch.from_numpy(session if masks_seen else session[-1:])] = -torch.inf
    assert torch.equal(module.select(observation, "greedy"), scores.argmax(1))
    probs = module.acting_probs(observation)
    torch.testing.assert_close(probs[:, :-1], torch.softmax(scores, -1), atol=1e-6, rtol=1e-4)
    assert (probs[:, -1] == 0).all() and len(module.get_state()) == 0


@pytest.mark.usefixtures("ray_session")
def test_the_list_is_played_in_order_whether_greedy_or_sampled(tmp_path: Path) -> None:
    model = write_user_model(tmp_path)
    items = planning.best_list(model, np.arange(2, 10), HORIZON + 1).tolist()
    algorithm = algorithm_of("best_list", tmp_path, model)
    module = algorithm.env_runner_group.local_env_runner.module
    sessions = [[5], [items[0]], [5, items[0]], [items[1], items[0], items[3]], items[:7]]
    observation = torch.full((len(sessions), 9), ITEMS)
    for row, session in enumerate(sessions):
        observation[row, 9 - len(session) :] = torch.tensor(session)
    observation[:, 0] = 0
    first = [next((i for i in items if i not in session), None) for session in sessions]
    rest = next(i for i in range(ITEMS) if i not in items)
    expected = [rest if item is None else item for item in first]
    for mode in ("greedy", "categorical"):
        assert module.act(observation, mode).tolist() == expected
    algorithm.stop()


def test_where_all_items_are_held_the_action_mask_decides(tmp_path: Path) -> None:
    observation = torch.tensor([[0, 2, 1, 0]])  # the user, then items
    for recent, item in ((0, 0), (1, 1), (2, 2)):
        assert int(in_order(torch.tensor([0.2, 0.9, 0.5, 0.0]), observation, recent)[1].argmax()) == item
