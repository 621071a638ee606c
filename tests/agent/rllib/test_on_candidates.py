"""Learning and measuring on candidates: against all items, against itself resumed, and what is left alone."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.methods import METHODS, resolve
from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.rows import TABLES
from ialp_rllib.agent.policy.saved import load_policy, save_policy
from ialp_rllib.agent.policy.sources import Listwise
from ialp_rllib.agent.policy.tempering import sampled_returns
from ialp_rllib.agent.rllib import weights
from ialp_rllib.agent.rllib.alone import LearnerAlone
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.measuring import act_at
from ialp_rllib.agent.rllib.state import restore_training, training_state
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AlphaSettings, CandidateSettings, ImitationSettings
from tests.agent.small import AGENT, make_method, make_world

SOME = CandidateSettings(count=5, popular=4, rebuild=20)
FEW = {"candidates": SOME}
EVERY = {"candidates": CandidateSettings(count=20, epsilon=0.0)}
NETWORK = NetworkConfig(20, 8, dim=16, mask_recent=3)
OPTIONS: dict[str, dict[str, Any]] = {
    "a2c": {},
    "aialp_ap": {"options": {"alpha": AlphaSettings(start=0.3, end=0.9, steps=200, shape="evidence")}},
}


def alone(name: str, seed: int = 0, **agent: Any) -> LearnerAlone:
    """A learner without environments, and without Ray."""
    config = IALPConfig().ialp(
        agent=dataclasses.replace(AGENT, warmup=32, **agent),
        module_class=resolve(METHODS[name].module),
        features={"popularity": np.arange(20)},
        **OPTIONS[name],
    )
    config.debugging(seed=seed, log_level="ERROR")
    return LearnerAlone(config, NETWORK, seed)


def steps(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Transitions in sessions of distinct items."""
    rng = np.random.default_rng(seed)
    items = np.argsort(rng.random((count, 20)), 1)[:, :9].astype(np.int32)
    user = np.zeros((count, 1), np.int32)
    return {
        "obs": np.concatenate([user, items[:, :8]], 1),
        "actions": items[:, 8].astype(np.int64),
        "rewards": rng.random(count).astype(np.float32),
        "new_obs": np.concatenate([user, items[:, 1:]], 1),
        "terminateds": rng.random(count) < 0.1,
        "truncateds": np.zeros(count, bool),
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_an_update_on_candidates_that_are_all_items_is_that_on_all_items(name: str) -> None:
    learners = [alone(name, shared_encoder=True, **agent) for agent in ({}, EVERY)]
    for learner in learners:
        assert learner.learn(steps(32)) == 1
    assert learners[1].losses == pytest.approx(learners[0].losses, abs=1e-5)
    expected, actual = (learner._module.state_dict() for learner in learners)
    for key, values in expected.items():  # a step is as long as the learning rate, 3e-3, however small its gradient
        if key not in tuple(f"target.{table}" for table in TABLES):  # rows of the target follow later
            torch.testing.assert_close(actual[key], values, atol=1e-3, rtol=1e-3, msg=key)


@pytest.mark.parametrize(
    ("name", "index"),
    [pytest.param("a2c", "exact", marks=pytest.mark.slow), ("aialp_ap", "exact"), ("aialp_ap", "faiss")],
)
def test_a_resumed_learner_is_the_same_to_the_bit(name: str, index: str, written: Callable[[Any], Any]) -> None:
    if index == "faiss":
        pytest.importorskip("faiss", reason="needs the extra [ann]")
    few = {"candidates": dataclasses.replace(SOME, index=index, probes=2)}
    whole, again = alone(name, **few), alone(name, seed=1, **few)
    if name == "aialp_ap":
        again._module.theta.load_state_dict(whole._module.theta.state_dict())  # of a file, in a run
    whole.learn(steps(120))
    half = written(whole.get_state())
    whole.learn(steps(120, seed=1))
    again.set_state(half)
    again.learn(steps(120, seed=1))
    assert again.losses == whole.losses
    assert {"candidates_coverage", "candidates_mass"} <= set(whole.losses)
    expected = whole._module.state_dict()
    for key, values in again._module.state_dict().items():
        torch.testing.assert_close(values, expected[key], atol=0, rtol=0, equal_nan=True, msg=key)


def test_what_no_batch_touches_stays() -> None:
    learner = alone("a2c", **FEW)
    module, one = learner._module, steps(1)
    before = {name: module.get_parameter(name).detach().clone() for name in TABLES}
    learner.learn({name: np.tile(values, (32, *[1] * (values.ndim - 1))) for name, values in one.items()})
    moved = {name: (module.get_parameter(name) != before[name]).reshape(21, -1).any(1) for name in TABLES}
    session, action = one["obs"][0, 1:].tolist(), one["actions"].tolist()
    assert moved[TABLES[0]].nonzero()[:, 0].tolist() == sorted([*session, *action])
    assert moved[TABLES[2]].nonzero()[:, 0].tolist() == action
    assert 0 < int(moved[TABLES[1]].sum()) <= SOME.count + SOME.popular
    probs = module.acting_probs(torch.from_numpy(one["obs"]))[0]
    assert float(probs.detach().sum()) == pytest.approx(1, abs=1e-6)
    assert (probs > 0).tolist() == [item not in session[-3:] for item in range(20)] + [False]


def test_items_are_drawn_as_from_all_items_at_any_temperature() -> None:
    observation, share = torch.from_numpy(steps(50)["obs"]), torch.tensor([0.3, 1.0]).repeat(25)
    modules = [alone("aialp_ap", **agent)._module for agent in ({}, EVERY)]
    actions = []
    for module in modules:
        torch.manual_seed(0)
        actions.append([module.act(observation, "greedy").tolist(), act_at(module, observation, share).tolist()])
    assert actions[0] == actions[1]
    assert all(
        item not in row[-3:] for items in actions[0] for item, row in zip(items, observation.tolist(), strict=True)
    )


def test_a_temperature_is_chosen_with_candidates_as_with_all_items() -> None:
    policy, chosen = alone("a2c")._module.policy, dataclasses.replace(AGENT, **EVERY)
    candidates = Candidates(20, 16, chosen.candidates)
    candidates.own.take(policy)
    returns = [sampled_returns(policy, make_world(), [0.1, 1.0], 12, 0, one) for one in (None, candidates)]
    assert returns[0] == returns[1]


def test_modules_that_learn_from_all_items_refuse() -> None:
    config = IALPConfig().ialp(agent=dataclasses.replace(AGENT, **FEW), module_class=resolve(METHODS["dqn"].module))
    with pytest.raises(InputError, match=r"agent\.candidates\.count: is 5, and QModule learns from all items"):
        config.validate()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_is_measured_saved_and_resumed(ray_session: None, name: str, tmp_path: Path) -> None:
    whole, again = (make_method(name, seed, agent=FEW, **OPTIONS[name]) for seed in (0, 1))
    for algorithm in (whole, again):
        algorithm.rounds = 15
    whole.train()
    results = whole.evaluate()["env_runners"]
    assert results["greedy"]["episodes"] == results["sampled"]["episodes"] == 30
    half = copy.deepcopy(training_state(whole))  # it holds the optimizers' own tensors
    whole.train()
    restore_training(again, half)
    again.train()
    assert again.progress() == whole.progress()
    assert again.losses() == whole.losses()
    acting = weights.acting(whole.learner_group)
    for algorithm in (whole, again):
        algorithm.stop()
    assert acting.retrieval is not None
    save_policy(
        tmp_path,
        acting.weights,
        method=name,
        acts=acting.acts,
        network=acting.network,
        retrieval=acting.retrieval,
    )
    assert load_policy(tmp_path).recommend([], 3, indices=True)


@pytest.mark.parametrize(("name", "updates"), [("a2c", 0), ("aialp_ap", 1)])
def test_a_saved_policy_acts_as_the_module_does(name: str, updates: int, tmp_path: Path) -> None:
    """With the index that the module has, which after an update is older than its weights."""
    learner, observation = alone(name, **FEW), torch.from_numpy(steps(20)["obs"])
    learner.learn(steps(32 * updates))
    module = learner._module
    retrieval = weights._retrieval(module)
    assert (retrieval.vectors is None) == (updates == 0)
    tensors = {key: value.clone() for key, value in module.state_dict().items()}
    kept = {key: value for key, value in tensors.items() if key.startswith(("policy.", "critic.", "theta.", "alpha"))}
    acts = weights.acts_as(type(module))[0]
    save_policy(tmp_path, kept, method=name, acts=acts, network=NETWORK, retrieval=retrieval)
    saved = load_policy(tmp_path)
    with torch.no_grad():
        expected = module.acting_probs(observation)
        actual = saved.acting(observation)[1]
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)
    best = saved.recommend_many([row[row < 20].tolist() for row in observation.numpy()[:, 1:]], 1, indices=True)
    assert len(best) == 20
    with pytest.raises(InputError, match="acts on candidates"):
        saved.export(tmp_path / "policy.pt2")


def listwise(rows: int) -> Listwise:
    rng = np.random.default_rng(rows)
    observation = torch.from_numpy(np.concatenate([np.zeros((rows, 1)), rng.integers(0, 20, (rows, 8))], 1))
    candidates = torch.from_numpy(np.argsort(rng.random((rows, 20)), 1)[:, :4])
    labels = torch.softmax(torch.from_numpy(rng.normal(size=(rows, 4))), 1).float()
    return Listwise(observation.int(), candidates, labels, torch.zeros(rows, 4), torch.ones(rows))


def imitation(settings: ImitationSettings, **agent: Any) -> Imitation:
    network = NetworkConfig(20, 8, dim=16, mask_recent=3)
    lesson = Lesson("judge", listwise(40), listwise(10))
    return Imitation(network, [lesson], settings, dataclasses.replace(AGENT, **agent), 0)


def test_listwise_pretraining_by_rows_is_that_on_whole_tables() -> None:
    settings = ImitationSettings(batch=40, epochs=1)
    one, other = imitation(settings), imitation(settings, **FEW)
    for learner in (one, other):
        learner.run_epoch()
    expected = one.result().state_dict()
    for key, values in other.result().state_dict().items():
        kept = slice(20) if key in TABLES else slice(None)  # "no item" is in no batch, and would only decay
        torch.testing.assert_close(values[kept], expected[key][kept], atol=1e-4, rtol=1e-4, msg=key)
    assert other.curve[0]["held_out_loss"] == pytest.approx(one.curve[0]["held_out_loss"], abs=1e-4)


def test_listwise_pretraining_by_rows_resumes_to_the_bit(written: Callable[[Any], Any]) -> None:
    settings = ImitationSettings(batch=16, epochs=3)
    whole = imitation(settings, **FEW)
    whole.run_epoch()
    again = imitation(settings, **FEW)
    again.set_state(written(whole.state()))
    for learner in (whole, again):
        learner.run_epoch()
    assert again.curve == whole.curve
    expected = whole.state()["weights"]
    assert all(torch.equal(values, expected[key]) for key, values in again.state()["weights"].items())


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Any]:
    """Writes a state into a checkpoint, and reads it."""

    def through(state: Any) -> Any:
        checkpoints = Checkpoints(tmp_path, "same")
        checkpoints.save(Checkpoint({"learner": state}, {}), 1)
        found = Checkpoints(tmp_path, "same").newest()
        assert found is not None
        return found.checkpoint.state["learner"]

    return through
