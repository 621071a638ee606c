"""A saved policy acts as its module did, to the bit, without the libraries of training; what is damaged is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ialp_rllib
from ialp_rllib.agent.methods import METHODS
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.saved import CONFIG, OWN, WEIGHTS, SavedPolicy, load_policy, save_policy
from ialp_rllib.agent.rllib import weights
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.baselines import FixedModule, QModule
from ialp_rllib.agent.rllib.mixture import MixtureModule
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AlphaSettings, DQNSettings
from ialp_rllib.storage import file_records
from tests.agent.small import make_algorithm, make_method
from tests.conftest import REPOSITORY

N, L, FEEDBACK = 20, 8, 3
ITEMS = [f"item {index}" for index in range(N)]
USERS = [f"user {index}" for index in range(6)]
TOKENS = tokens_of({"colour": np.array(["red", "deep blue", "light blue", "red"] * 5)})
FEATURES = {"item_tokens": TOKENS, "user_codes": np.arange(12).reshape(6, 2) % 3, "user_sizes": [3, 3]}


def save(algorithm: IALP, folder: Path, method: str) -> SavedPolicy:
    folder.mkdir(exist_ok=True)
    acting = weights.acting(algorithm.learner_group)
    known = {"acts": acting.acts, "network": acting.network, "module": acting.module}
    save_policy(folder, acting.weights, method=method, **known, item_ids=ITEMS, user_ids=USERS)
    return load_policy(folder)


def sessions(count: int) -> tuple[list[list[int]], list[int], list[list[int]], torch.Tensor]:
    """Histories of up to 12 items, users and answers, as indices, and what the agent observes of them."""
    rng = np.random.default_rng(0)
    histories = [rng.integers(N, size=rng.integers(0, 13)).tolist() for _ in range(count)]
    answers = [rng.integers(FEEDBACK + 1, size=len(history)).tolist() for history in histories]
    users = rng.integers(6, size=count).tolist()
    observation = torch.full((count, 1 + L), N, dtype=torch.int32)
    for row, (history, levels) in enumerate(zip(histories, answers, strict=True)):
        observation[row, 0] = users[row]
        for back, (item, level) in enumerate(zip(history[::-1][:L], levels[::-1][:L], strict=True)):
            observation[row, L - back] = item + level * (N + 1)
    return histories, users, answers, observation


@pytest.fixture(scope="module")
def theta(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a policy to start from, as pre-training leaves them."""
    algorithm = make_algorithm(seed=5, features=FEATURES, agent={"feedback": FEEDBACK})
    folder = tmp_path_factory.mktemp("theta")
    save(algorithm, folder, "ialp")
    algorithm.stop()
    return str(folder / WEIGHTS)


def changes(name: str, theta: str) -> dict[str, Any]:
    """What a method needs in the small world; ``own`` options beside the features that all of them have."""
    found: dict[str, Any] = {"features": FEATURES, "agent": {"feedback": FEEDBACK, "batch": 8, "warmup": 8}}
    if METHODS[name].start:
        found["start_weights"] = theta
    if METHODS[name].mixture:
        found |= {"theta_weights": theta, "options": {"alpha": AlphaSettings(start=0.2, end=0.9, steps=200)}}
    if name == "dqn":
        found["options"] = {"dqn": DQNSettings(epsilon_steps=150, epsilon_end=0.2)}
    if name in ("popularity", "best_list"):
        found["features"] = {**FEATURES, "scores": np.arange(N, dtype=np.float32) % 7}
    return found


OWN_CODE = ("model_greedy", "lea", "judge_direct")  # act by what is not in the policy's folder


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OWN_CODE])
def test_every_method_acts_as_its_module_did_to_the_bit(name: str, theta: str, tmp_path: Path) -> None:
    algorithm = make_method(name, **changes(name, theta))
    algorithm.rounds = 15
    algorithm.train()
    module = algorithm.env_runner_group.local_env_runner.module
    policy = save(algorithm, tmp_path, name)
    histories, users, answers, observation = sessions(200)
    with torch.inference_mode():
        expected = module.acting_probs(observation)[:, :-1].numpy()
        greedy = module.act(observation, "greedy").tolist()
    given = {"users": [USERS[user] for user in users], "answers": answers}
    named = [[ITEMS[item] for item in history] for history in histories]
    if policy.network.feedback == 0:
        del given["answers"]
    probs = policy.probabilities_many(named, **given)
    assert np.array_equal(probs, expected)
    assert (np.isneginf(policy.scores_many(named, **given)) <= (probs == 0)).all()
    best = [items[0] for items in policy.recommend_many(named, 1, exclude_history=False, **given)]
    if METHODS[name].module.endswith(":FixedModule"):  # greedy takes one of the best at random
        chosen = np.array([ITEMS.index(item) for item in best])
        assert np.array_equal(probs[np.arange(200), chosen], probs.max(1))
    else:
        assert best == [ITEMS[item] for item in greedy]
    by_index = policy.recommend_many(histories, 5, users=users, answers=given.get("answers"), indices=True)
    assert [[ITEMS[item] for item in items] for items in by_index] == policy.recommend_many(named, 5, **given)
    one = policy.recommend(named[3], 5, user=given["users"][3], answers=answers[3] if "answers" in given else None)
    assert one == [ITEMS[item] for item in by_index[3]]
    assert policy.method == name
    algorithm.stop()


def test_training_starts_from_a_mixtures_file(theta: str, tmp_path: Path) -> None:
    """Files hold more than an actor-critic: features, theta and alpha."""
    algorithm = make_method("aialp_ap", **changes("aialp_ap", theta))
    save(algorithm, tmp_path, "aialp_ap")
    algorithm.stop()
    held = load_file(tmp_path / WEIGHTS)
    assert {"alpha", "features.user_codes", "theta.actor.bias"} < set(held)
    start = str(tmp_path / WEIGHTS)
    again = make_method("aialp_ap", seed=9, **{**changes("aialp_ap", start), "start_weights": start})
    for name, tensor in again.policy_weights().items():
        assert torch.equal(tensor, held[name])
    again.stop()
    (tmp_path / WEIGHTS).write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"policy\.safetensors: has 100 bytes, [\d,]+ were written"):
        make_method("aialp_ap", **changes("aialp_ap", start))


@pytest.mark.parametrize("base", [ActorCriticModule, MixtureModule, QModule, FixedModule])
def test_a_module_that_acts_otherwise_is_told_apart(base: type) -> None:
    acts, _ = weights.acts_as(base)
    assert acts != OWN
    assert weights.acts_as(type("Same", (base,), {"learnt": lambda self, parts: None}))[0] == acts
    for name in weights.ACTING:
        assert any(hasattr(ours, name) for ours in (ActorCriticModule, QModule)), f"{name} has another name now"
        assert weights.acts_as(type("Other", (base,), {name: lambda self, *args: None}))[0] == OWN


# ---- a policy of plain torch


@pytest.fixture
def network() -> NetworkConfig:
    return NetworkConfig(n_items=N, history=L, dim=8, mask_recent=3, feedback=0, **FEATURES)


@pytest.fixture
def folder(network: NetworkConfig, tmp_path: Path) -> Path:
    state = ActorCritic(network).state_dict()
    save_policy(tmp_path, state, method="a2c", acts="softmax", network=network, item_ids=ITEMS, user_ids=USERS)
    return tmp_path


BLOCKED = ("ray", "duckdb", "pyarrow", "gymnasium", "transformers", "pandas", "scipy", "yaml", "rich", "requests")


def test_it_loads_with_torch_numpy_and_safetensors_alone(folder: Path) -> None:
    script = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import ialp_rllib
policy = ialp_rllib.load_policy({str(folder)!r})
print(*policy.recommend(["item 3", "item 5"], k=4, user="user 2"), sep="|")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    expected = load_policy(folder).recommend(["item 3", "item 5"], k=4, user="user 2")
    assert done.stdout.strip().split("|") == expected
    assert len(expected) == 4


def test_what_is_masked_and_what_the_history_holds(folder: Path) -> None:
    policy = load_policy(folder)
    history = ["item 9", "item 1", "item 2", "item 3"]
    probs, scores = policy.probabilities(history, user="user 0"), policy.scores(history, user="user 0")
    assert np.nonzero(probs == 0)[0].tolist() == np.nonzero(np.isneginf(scores))[0].tolist() == [1, 2, 3]
    assert probs.sum() == pytest.approx(1)
    everything = policy.recommend(history, k=100, user="user 0", exclude_history=False)
    assert sorted(everything) == sorted(set(ITEMS) - set(history[1:]))
    assert [probs[ITEMS.index(item)] for item in everything] == sorted(probs[probs > 0].tolist(), reverse=True)
    new = [item for item in everything if item != "item 9"]
    assert policy.recommend(history, k=100, user="user 0") == new
    assert policy.recommend(np.array(history), k=1, user="user 0") == new[:1]
    assert len(policy.recommend([], k=3, user="user 0")) == 3
    assert policy.recommend_many([], users=[]) == []
    many = policy.recommend_many([history] * 1100, k=2, users=["user 0"] * 1100)
    assert many == [policy.recommend(history, 2, user="user 0")] * 1100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.recommend(["item 3", "thing"], user="user 0"), "history: holds 'thing', none of the policy's 20"),
        (lambda p: p.recommend("item 3", user="user 0"), "history: is the text 'item 3'"),
        (lambda p: p.recommend([["item 3"]], user="user 0"), "history: holds"),
        (lambda p: p.recommend([3], user="user 0"), r"holds '3'.*\n.*an id such as 'item 0'"),
        (lambda p: p.recommend([20], user=0, indices=True), "an index from 0 to 19"),
        (lambda p: p.recommend(["item 3"]), "user: is missing"),
        (lambda p: p.recommend(["item 3"], user="nobody"), "user: holds 'nobody'"),
        (lambda p: p.recommend_many([[], []], users=["user 0"]), "user: is missing"),
        (lambda p: p.recommend([], k=0, user="user 0"), "k: is 0"),
        (lambda p: p.recommend(["item 3"], user="user 0", answers=[1]), "answers: are given"),
    ],
)
def test_what_it_cannot_answer(call: Any, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        call(load_policy(folder))


def test_answers_must_fit_the_history(tmp_path: Path) -> None:
    network = NetworkConfig(n_items=N, history=L, dim=8, mask_recent=-1, feedback=2)
    state = ActorCritic(network).state_dict()
    state["policy.encoder.answers"] = torch.randn(3, 8)
    save_policy(tmp_path, state, method="a2c", acts="softmax", network=network)
    policy = load_policy(tmp_path)
    known = policy.scores(["3", "5"], answers=[0, 2])  # without ids items are known by their indices
    assert not np.array_equal(known, policy.scores(["3", "5"]))
    assert np.array_equal(policy.scores(["3", "5"], answers=[0, 0]), policy.scores(["3", "5"]))
    with pytest.raises(InputError, match="not as many"):
        policy.scores(["3", "5"], answers=[1])
    with pytest.raises(InputError, match="unknown level"):
        policy.scores(["3", "5"], answers=[1, 3])


def test_loading_leaves_the_random_generator_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    policy = load_policy(folder)
    policy.recommend([], user="user 0")
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.requires_grad for parameter in policy.acting.parameters())


def test_the_folder_is_of_open_formats(folder: Path, network: NetworkConfig) -> None:
    config = json.loads((folder / CONFIG).read_text())
    assert config["format"] == 1 and config["ialp_rllib"] == ialp_rllib.__version__
    assert config["network"] == {
        **{"n_items": N, "history": L, "dim": 8, "blocks": 1, "heads": 2, "mask_recent": 3, "feedback": 0},
        **{"shared_encoder": False, "dueling": True, "item_tokens": TOKENS.size, "user_codes": True},
        **{"user_sizes": [3, 3], "text_vectors": None},
    }
    loaded = load_policy(folder)
    assert loaded.network.item_tokens is not None
    assert np.array_equal(loaded.network.item_tokens.codes, TOKENS.codes)
    assert loaded.network.item_tokens.codes.dtype == np.int64
    assert np.array_equal(loaded.network.user_codes, FEATURES["user_codes"])
    assert loaded.item_ids.tolist() == ITEMS and loaded.user_ids.tolist() == USERS


def test_text_vectors_are_saved_with_the_policy(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    network = NetworkConfig(n_items=N, history=L, dim=8, mask_recent=0, text_vectors=vectors)
    net = ActorCritic(network)
    save_policy(tmp_path, net.state_dict(), method="a2c", acts="softmax", network=network)
    loaded = load_policy(tmp_path)
    assert loaded.network.text_vectors is not None and np.array_equal(loaded.network.text_vectors, vectors)
    observation = torch.tensor([[0, *[N] * (L - 2), 3, 7]])
    assert torch.equal(loaded.acting.policy(observation), net.policy(observation))  # type: ignore[operator]


def test_items_without_any_token(tmp_path: Path) -> None:
    tokens = tokens_of({"a": np.array(["x", "y"])})  # each of one item alone
    assert tokens.codes.shape == (2, 0)
    network = NetworkConfig(n_items=2, history=2, dim=4, mask_recent=0, item_tokens=tokens)
    save_policy(tmp_path, ActorCritic(network).state_dict(), method="a2c", acts="softmax", network=network)
    assert len(load_policy(tmp_path).recommend(["0"], exclude_history=False)) == 2


# ---- damage


def edit(**changes: Any) -> Any:
    """Change ``config.json``; a key ``network__x`` is a field of the network, None takes a key away."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        for key, value in changes.items():
            tree = config["network"] if key.startswith("network__") else config
            tree[key.removeprefix("network__")] = value
            if value is None:
                del tree[key.removeprefix("network__")]
        (folder / CONFIG).write_text(json.dumps(config))

    return change


def tensors(**changes: Any) -> Any:
    """Replace tensors by what a function makes of them; dots are written ``__``; None takes one away."""

    def change(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        for key, function in changes.items():
            name = key.replace("__", ".")
            tensor = held.pop(name)
            if function is not None:
                held[name] = function(tensor).contiguous()
        save_file(held, folder / WEIGHTS)
        edit(weights=file_records(folder, [WEIGHTS]))(folder)

    return change


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def replaced(function: Any) -> Any:
    """Replace the weights' bytes by what a function makes of them, with the hash that they have then."""

    def change(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(function((folder / WEIGHTS).read_bytes()))
        edit(weights=file_records(folder, [WEIGHTS]))(folder)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / CONFIG).unlink(), r"config\.json: no such file\n.*earlier version: delete it and run"),
        (lambda f: (f / WEIGHTS).unlink(), r"policy\.safetensors: no such file"),
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]), r"safetensors: has [\d,]+ bytes, "),
        (lambda f: flip(f / WEIGHTS), r"policy\.safetensors: holds other bytes than were written"),
        (replaced(lambda data: data[:-9]), r"cannot be read as safetensors"),
        (replaced(lambda data: bytes(len(data))), r"cannot be read as safetensors"),
        (edit(weights=None), r"config\.json: 'weights' is None"),
        (edit(weights={"../x": {}}), r"config\.json: 'weights' is {'\.\./x': {}}\n.*SHA-256 of policy\.safetensors"),
        (lambda f: (f / CONFIG).write_text('{"format": 1,'), r"config\.json: is damaged"),
        (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe"), r"config\.json: is damaged"),
        (lambda f: (f / CONFIG).write_text("[1]"), r"config\.json: is no description of a policy"),
        (lambda f: (f / CONFIG).write_text('{"hidden_size": 4096}'), r"config\.json: is no description of a policy"),
        (edit(format=2), r"config\.json: is of format 2\n.*'format': 1"),
        (edit(items=None), r"config\.json: 'items' is None"),
        (edit(items=ITEMS[:-1]), r"'items' holds 19 ids\n.*n_items = 20"),
        (edit(items=[*ITEMS[:-1], ITEMS[0]]), r"'items' holds something else than distinct ids"),
        (edit(users=USERS[:-1]), r"'features\.user_codes' is int32 of shape \[6, 2\]\n.*\[5, 2\]"),
        (edit(acts="greedy"), r"'acts' is 'greedy'\n.*one of softmax"),
        (edit(acts="mixture"), r"has no tensor 'alpha'\n.*float32 of shape \[\], as config\.json says"),
        (edit(acts="q"), r"has no tensor 'epsilon'"),
        (edit(acts=OWN, module="mine:Module"), r"acts by code of its own \(mine:Module\)"),
        (edit(network__dim=None), r"'network' has no dim"),
        (edit(network__dim="8"), r"'dim' is '8'\n.*a whole number from 2 to 4096"),
        (edit(network__dim=True), r"'dim' is True"),
        (edit(network__dim=10), r"position' is float32 of shape \[8, 8\]\n.*\[8, 10\]"),
        (edit(network__heads=3), r"do not fit together"),
        (edit(network__dueling="no"), r"'dueling' is 'no'\n.*true or false"),
        (edit(network__item_tokens=1), r"'features\.item_tokens\.codes' holds unknown codes"),
        (edit(network__item_tokens="all"), r"'item_tokens' is 'all'"),
        (edit(network__text_vectors=0), r"'text_vectors' is 0"),
        (edit(network__text_vectors=4), r"has no tensor 'features\.text_vectors'"),
        (edit(network__user_sizes=[3, 2]), r"'features\.user_codes' holds unknown codes"),
        (edit(network__user_sizes=[3, 0]), r"'user_sizes' is \[3, 0\]"),
        (tensors(policy__actor__bias=None), r"has no tensor 'policy\.actor\.bias'"),
        (tensors(policy__actor__bias=lambda t: t[:-1]), r"'policy\.actor\.bias' is float32 of shape \[20\]\n.*\[21\]"),
        (tensors(policy__actor__bias=lambda t: t.double()), r"is float64 of shape"),
        (tensors(policy__actor__bias=lambda t: t * torch.nan), r"'policy\.actor\.bias' holds values that are not fin"),
        (tensors(features__item_tokens__scale=None), r"has no tensor 'features\.item_tokens\.scale'"),
        (tensors(features__item_tokens__codes=lambda t: t[:-1]), r"codes' is int32 of shape \[19, "),
    ],
)
def test_what_is_damaged_is_named(damage: Any, message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_policy(folder)


@pytest.mark.parametrize("key", ["start_weights", "theta_weights"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flip(f / WEIGHTS), r"policy\.safetensors: holds other bytes than were written"),
        (lambda f: (f / CONFIG).write_text("{"), r"config\.json: is damaged"),
        (replaced(lambda data: data[:-9]), r"policy\.safetensors: cannot be read as safetensors"),
        (tensors(policy__actor__bias=lambda t: t * torch.inf), r"safetensors: 'policy\.actor\.bias' holds values that"),
        (tensors(policy__actor__bias=lambda t: t[:-1]), r"safetensors: does not fit the networks .*actor\.bias"),
        (tensors(policy__actor__bias=None), r"safetensors: does not fit the networks .*Missing key"),
    ],
)
def test_weights_to_start_from_are_checked(damage: Any, message: str, key: str, folder: Path) -> None:
    damage(folder)
    options: dict[str, Any] = {key: str(folder / WEIGHTS)}
    if key == "theta_weights":
        options["module_class"] = MixtureModule
    with pytest.raises(InputError, match=message):
        make_algorithm(features=FEATURES, agent={"dim": 8}, **options)


def test_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"runs: no such folder\n.*RUN/adapt/METHOD/seed-N"):
        load_policy(tmp_path / "runs")
    with pytest.raises(InputError, match=r"config\.json: no such file\n[^.]*policy\.safetensors and config\.json"):
        load_policy(tmp_path)
