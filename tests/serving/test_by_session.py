"""A service that draws one of its policies with each session: propensities, transitions and estimates are exact."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS
from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.cli.main import app
from ialp_rllib.errors import InputError
from ialp_rllib.ope.simulate import true_return
from ialp_rllib.results.logged import check_logged, logged_table
from ialp_rllib.serving.artifact import Artifact
from ialp_rllib.serving.draws import drawn
from ialp_rllib.serving.evaluated import artifact_target, version_target
from ialp_rllib.serving.folder import SECRET, ServiceFolder, create_service
from ialp_rllib.serving.history import Support
from ialp_rllib.serving.join import Joined, Joiner
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.serving.log import Tail
from ialp_rllib.serving.policy import NOT_FINITE, PROMOTED, Served, ServingPolicy, Version, load_version
from ialp_rllib.serving.service import Ask, Feedback, Service
from ialp_rllib.serving.simulate import Traffic
from ialp_rllib.serving.states import States
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.settings.serving import TrafficSettings
from tests.serving.small import AGENT, ITEMS, NETWORK, N, make_artifact, play, weights
from tests.serving.test_candidates import RETRIEVAL
from tests.serving.test_join import SETTINGS, answer, decision
from tests.serving.test_policy import chi_square, states
from tests.serving.test_simulate import make_world

ALPHAS = {1: 0.4, 2: 0.7}  # of the versions


def make_folder(root: Path, *sets: str) -> ServiceFolder:
    """A service with two published versions of other weights, the first of which is promoted; its draws are fixed."""
    sets = ("alpha.by=session", "guard.deadline=3600", *sets)  # on a busy machine pi_theta would stand in
    folder = create_service(root / "service", make_artifact(root / "policy"), sets)
    (folder.root / SECRET).write_text("07" * 32)
    versions = Versions(folder.root)
    for number, alpha in ALPHAS.items():
        assert versions.publish(weights(1 + number), alpha, {}) == number
    versions.serve(Current(1, None, 0, "by hand", 1.0))
    return folder


def parts(rows: list[dict[str, Any]], number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of all items by pi_theta and by a version's pi_beta, as the networks give them."""
    seen = torch.from_numpy(States(NETWORK, ITEMS).observe([row["items"] for row in rows], [[]] * len(rows), []))
    found = []
    for seed in (1, 1 + number):
        policy = Policy(NETWORK)
        policy.load_state_dict({k.removeprefix("policy."): v for k, v in weights(seed).items() if "policy." in k})
        probs = torch.softmax(policy(seen), -1)[:, :-1].detach().double().numpy()
        found.append(probs / probs.sum(1, keepdims=True))
    return found[0], found[1]


def test_the_draw_is_that_of_every_replica_and_of_one_version() -> None:
    names, secret = [f"session {n}" for n in range(20_000)], b"secret"
    first = np.array([drawn(name, 3, 0.3, secret) for name in names])
    assert first.mean() == pytest.approx(0.3, abs=0.015)
    assert all(drawn(name, 3, 0.3, secret) == known for name, known in zip(names[:99], first, strict=False))
    for other in ([drawn(name, 4, 0.3, secret) for name in names], [drawn(name, 3, 0.3, b"other") for name in names]):
        assert np.mean(first & np.array(other)) == pytest.approx(0.09, abs=0.01), "independent"
    assert drawn("\ud800", 1, 1.0, secret) and not drawn("\ud800", 1, 0.0, secret)


def serve(folder: ServiceFolder, count: int, length: int = 5) -> Joined:
    """Sessions by two replicas, through two exchanges of the version; every third request of a place is repeated."""
    replicas = [Service(folder, seed=seed, sync=False, clock=lambda: 10.0) for seed in (0, 1)]
    versions, rng = Versions(folder.root), np.random.default_rng(2)
    shown = [[ITEMS[int(rng.integers(N))]] for _ in range(count)]
    for step in range(length):
        versions.serve(Current({0: 1, 1: 1, 2: 2, 3: 2, 4: 1}[step], None, 0, "by hand", float(step)))
        for replica in replicas:
            replica.watcher.refresh()
        asks = [Ask(f"s{n}", tuple(items)) for n, items in enumerate(shown)]
        replicas[step % 2].decide([ask for n, ask in enumerate(asks) if n % 3 == 0])  # lost on the way
        answers = replicas[(step + 1) % 2].decide(asks)
        for items, given in zip(shown, answers, strict=True):
            assert given is not None
            items.append(given.items[0])
        ended = "limit" if step == length - 1 else ""
        replicas[0].store([Feedback(given.decision, 1.0, ended) for given in answers if given is not None])
    joiner = Joiner(folder.settings.feedback, States(NETWORK, ITEMS), by_session=True)
    return joiner.add(Tail(folder.decisions).read(), Tail(folder.feedback).read(), 11.0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServiceFolder, Joined]:
    folder = make_folder(tmp_path_factory.mktemp("by-session"))
    return folder, serve(folder, 2500)


def expected(rows: list[dict[str, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ordered rows: probabilities of all items given what the session has shown, and each weight of pi_beta."""
    both = {number: parts(rows, number) for number in ALPHAS}
    whole, share = np.zeros((len(rows), N)), np.zeros(len(rows))
    likelihood: dict[int, list[float]] = {}
    for n, row in enumerate(rows):
        if row["position"] == 0:
            likelihood = {number: [1.0, 1.0] for number in ALPHAS}
        if row["arm"] == "control":
            whole[n] = both[1][0][n]
            continue
        number = row["version"]
        theta, beta = (part[n] for part in both[number])
        prior = np.array([1 - ALPHAS[number], ALPHAS[number]]) * likelihood[number]
        share[n] = prior[1] / prior.sum()
        whole[n] = (1 - share[n]) * theta + share[n] * beta
        item = ITEMS.index(row["item"])
        likelihood[number] = [likelihood[number][0] * theta[item], likelihood[number][1] * beta[item]]
    return whole, share


def test_logged_probabilities_are_those_given_the_session_so_far(served: tuple[ServiceFolder, Joined]) -> None:
    """Through two exchanges of the version, back to the first one, repeated requests and the control arm."""
    rows = check_logged(logged_table(served[1].logged), "log").to_pylist()
    assert len(rows) == 5 * 2500 and {row["version"] for row in rows} == {0, 1, 2}
    whole, share = expected(rows)
    item = np.array([ITEMS.index(row["item"]) for row in rows])
    logged, position = (np.array([row[name] for row in rows]) for name in ("probability", "position"))
    np.testing.assert_allclose(logged, whole[np.arange(len(rows)), item], rtol=1e-5)
    mixed = np.array([row["arm"] != "control" for row in rows])
    assert (share[mixed & (position == 4)] > 0.95).mean() > 0.1 and (share[mixed & (position == 4)] < 0.05).any()
    for place in range(5):
        kept = position == place
        counts = np.bincount(item[kept], minlength=N).astype(float)
        assert chi_square(counts, whole[kept].sum(0)) > 1e-3, place
    # Where the odds are certain of one policy that policy is the one that acts: what follows is not the mixture.
    sure = mixed & (position == 4) & (share > 0.8)
    assert chi_square(np.bincount(item[sure], minlength=N).astype(float), whole[sure].sum(0)) > 1e-3
    weight = np.ones(2500)
    theta = parts(rows, 1)[0]
    np.multiply.at(weight, np.arange(len(rows)) // 5, theta[np.arange(len(rows)), item] / logged)
    assert abs(weight.mean() - 1) < 4 * weight.std() / 50 and weight.max() < 1 / (0.6 * 0.3) + 1e-6


def test_transitions_carry_the_odds_of_their_session(served: tuple[ServiceFolder, Joined]) -> None:
    folder, joined = served
    columns, rows = joined.columns, check_logged(logged_table(joined.logged), "log").to_pylist()
    share = expected(rows)[1]
    assert (columns["actions"] == [ITEMS.index(row["item"]) for row in rows]).all()
    alpha = np.array([ALPHAS.get(row["version"], 0.5) for row in rows])
    before = 1 / (1 + np.exp(-(np.log(alpha / (1 - alpha)) + columns[ODDS])))
    mixed = np.array([row["arm"] != "control" for row in rows])
    np.testing.assert_allclose(before[mixed], share[mixed], atol=1e-5)
    assert not columns[ODDS][~mixed].any() and not columns[NEXT_ODDS][~mixed].any()
    version = np.array([row["version"] for row in rows])
    same = np.flatnonzero(mixed[:-1] & (version[:-1] == version[1:]) & (np.arange(len(rows) - 1) % 5 < 4))
    np.testing.assert_array_equal(columns[NEXT_ODDS][same], columns[ODDS][same + 1])
    logs = Tail(folder.decisions).read(), Tail(folder.feedback).read()
    step = Joiner(folder.settings.feedback, States(NETWORK, ITEMS)).add(*logs, 11.0).columns
    assert ODDS not in step and len(step["actions"]) == len(rows)


def test_a_slate_is_drawn_by_one_policy() -> None:
    theta, beta = weights(1), load_version(1, 0.5, weights(2), NETWORK)
    policy = Policy(NETWORK)
    policy.load_state_dict({k.removeprefix("policy."): v for k, v in theta.items() if k.startswith("policy.")})
    acting = ServingPolicy(policy, AGENT, draws=partial(drawn, secret=b"x"))
    acting.swap(Served(beta))
    seen, names = np.repeat(states(1, seed=5), 9000, 0), [str(n) for n in range(9000)]
    arms, slate = np.full(9000, PROMOTED), np.where(np.arange(9000) % 2, 3, 1)
    acts = acting.act(seen, arms, slate, torch.Generator().manual_seed(0), names)
    one, two = (part[0] for part in parts([{"items": [ITEMS[i] for i in seen[0, 1:] if i < N]}], 1))
    pairs = acts.items[1::2, :2]
    counts = np.zeros((N, N))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    whole = sum(0.5 * p[:, None] * p[None] / (1 - p[:, None]) for p in (one, two))
    np.fill_diagonal(whole, 0)
    assert chi_square(counts.ravel(), len(pairs) * whole.ravel()) > 1e-3
    for part, p in enumerate((one, two)):
        np.testing.assert_allclose(acts.parts[1::2, 0, part], p[pairs[:, 0]], rtol=1e-5)
        rest = p[pairs[:, 1]] / (1 - p[pairs[:, 0]])
        np.testing.assert_allclose(acts.parts[1::2, 1, part], rest, rtol=1e-5)
        own = np.array(acts.drawn[1::2]) == ("theta", "beta")[part]
        np.testing.assert_allclose(acts.probability[1::2][own], acts.parts[1::2][own][:, :, part])
    assert set(acts.drawn) == {"theta", "beta"}
    both = acting.choices(seen[:4], arms[:4], names[:4]).parts_of(acts.items[:4, 0])
    np.testing.assert_allclose(both, acts.parts[:4, 0])
    assert np.isnan(acting.act(seen[:2], np.zeros(2, np.int64), slate[:2], torch.Generator(), names[:2]).parts).all()


def test_odds_of_slates_and_of_steps_without_a_draw() -> None:
    two = {"parts": [[0.2, 0.1], [0.4, 0.1]], "p": [0.4, 0.1]}
    rows = [
        decision("slate", [0], [1, 2], **two),
        decision("slow", [0, 1], 3, t=2.0, alpha=0.0, fallback="slow"),
        decision("last", [0, 1, 3], 4, t=3.0, parts=[[0.1], [0.3]], p=[0.3]),
    ]
    given = [answer("slate", item=ITEMS[1]), answer("slow"), answer("last", ended="limit")]
    make_joiner = partial(Joiner, SETTINGS, States(NETWORK, ITEMS), by_session=True)
    columns = make_joiner().add(rows, given, 4.0).columns
    order = np.argsort(columns["actions"])
    np.testing.assert_allclose(np.exp(columns[ODDS][order]), [1, 2, 2], rtol=1e-6)
    np.testing.assert_allclose(np.exp(columns[NEXT_ODDS][order]), [2, 2, 6], rtol=1e-6)
    alone = [
        decision("a", [0], 1, parts=[[0.2], [0.4]], p=[0.4]),
        decision("b", [0, 1], 3, fallback="slow", alpha=0.0),
        decision("c", [0, 1, 3], 4, parts=[[0.1], [0.3]], p=[0.3]),
    ]
    logged = make_joiner().add(alone, [answer("a"), answer("b"), answer("c", ended="limit")], 4.0).logged
    np.testing.assert_allclose(logged["probability"], [0.3, 0.25, 0.1 / 3 + 0.3 * 2 / 3])


def test_theta_stands_in_whatever_was_drawn(tmp_path: Path) -> None:
    """Where pi_beta is not finite there is no propensity of its part, so that also sessions of pi_theta fall back."""
    folder = make_folder(tmp_path)
    service = Service(folder, seed=0, sync=False)
    bad = service.policy.served.promoted
    assert bad.items is not None
    service.policy.swap(Served(bad._replace(items=bad.items * float("nan"))))
    service.decide([Ask(f"s{n}") for n in range(60)])
    rows = [row for row in Tail(folder.decisions).read() if row["arm"] != "control"]
    assert len(rows) > 40 and {row["fallback"] for row in rows} == {NOT_FINITE}
    assert not any("parts" in row or "drawn" in row for row in rows)


def test_support_is_that_of_whole_sessions(served: tuple[ServiceFolder, Joined]) -> None:
    """The weights of another alpha are bounded over a session: what the page says of the log's support."""
    joined, states_ = served[1], States(NETWORK, ITEMS)
    policy = Policy(NETWORK)
    policy.load_state_dict({k.removeprefix("policy."): v for k, v in weights(1).items() if k.startswith("policy.")})
    rows = check_logged(logged_table(joined.logged), "log").to_pylist()[-5 * 500 :]
    item, logged = np.array([ITEMS.index(r["item"]) for r in rows]), np.array([r["probability"] for r in rows])
    ratios = [(part[np.arange(len(rows)), item] / logged).reshape(-1, 5).prod(1) for part in parts(rows, 2)]
    for alpha in (0.0, 0.3, 1.0):
        whole = (1 - alpha) * ratios[0] + alpha * ratios[1]
        support = Support(ServingPolicy(policy, AGENT, draws=lambda *_: False), states_)
        support.add(joined.logged)
        found = support.effective_sample_size(load_version(2, alpha, weights(3), NETWORK))
        assert found == pytest.approx(whole.sum() ** 2 / (whole**2).sum() / len(whole), rel=1e-4)
    support = Support(ServingPolicy(policy, AGENT), states_)
    support.add(joined.logged)
    assert support.effective_sample_size(Version(0, 0.0)) > 0


def play_users(folder: ServiceFolder, rounds: int) -> pa.Table:
    """The sealed log of simulated users."""
    service = Service(folder, seed=0, sync=False, clock=lambda: 10.0)
    traffic = Traffic(make_world(), ITEMS, (), TrafficSettings(users=50, late=0.0, lost=0.0, twice=0.0))
    for _ in range(rounds):
        traffic.round(service.decide, service.store)
    joiner = Joiner(folder.settings.feedback, States(NETWORK, ITEMS))
    joined = joiner.add(Tail(folder.decisions).read(), Tail(folder.feedback).read(), 11.0)
    return logged_table(joined.logged)


def test_a_log_of_such_a_service_is_evaluated_as_its_sessions_are_drawn(tmp_path: Path) -> None:
    """`ialp evaluate` of the version that wrote it, of another alpha, and of pi_theta, against the truth."""
    folder = make_folder(tmp_path)
    folder.sealed.mkdir(parents=True)
    pq.write_table(play_users(folder, 100), folder.sealed / "part-000000.parquet")
    for words, number, alpha in (((), 1, None), (("--alpha", "0.8"), 1, 0.8), ((), 0, None)):
        target, _ = version_target(folder, number, alpha)
        assert len(target.components) == (2 if number else 1)
        true, error = true_return(make_world(), target, 4000, 3)
        out = tmp_path / "page"
        call = ["evaluate", str(folder.sealed), "--policy", str(folder.root), "--version", str(number), "--no-fqe"]
        done = CliRunner().invoke(app, [*call, *words, "--out", str(out)])
        assert done.exit_code in (0, 3, 4), done.output
        level = json.loads((out / "evaluation.json").read_text())["level"]
        for name in ("PDIS", "SNPDIS"):
            found = level[name]["value"], (level[name]["high"] - level[name]["low"]) / 4
            assert abs(found[0] - true) < 4 * np.hypot(found[1], error), (number, name)
    step, _ = version_target(folder, 1, by="step")
    assert len(step.components) == 1
    exported = make_artifact(tmp_path / "other", alpha={"by": "session", "start": 0.3})
    shares = [share for share, _ in artifact_target(exported)[0].components]
    assert shares == pytest.approx([0.7, 0.3])


def test_it_learns_from_such_sessions_and_goes_on(tmp_path: Path) -> None:
    sets = ["publish_updates=5", "checkpoint_seconds=0", "guard.sessions=5", "guard.canary=0.4", "guard.control=0.2"]
    folder = make_folder(tmp_path, *sets)
    decided, learner = play(folder, 40), ServiceLearner(folder)
    while learner.turn():
        pass
    assert learner.learner.updates > 10 and learner.learner.env_steps == decided - decided % AGENT.envs
    replay = learner.learner.replay.get_state()["columns"]
    assert replay[ODDS].any() and np.isfinite(replay[ODDS]).all()
    assert all(np.isfinite(value) for value in learner.learner.losses.values())
    assert learner.versions.current().canary == 3 and 0 < learner._ess <= 1
    learner.checkpoint()
    again = ServiceLearner(folder)
    assert (again.learner.replay.get_state()["columns"][ODDS] == replay[ODDS]).all()
    step = ServiceLearner(create_service(folder.root, folder.artifact, [*sets, "alpha.by=step"]))
    assert ODDS not in step.learner.replay.get_state()["columns"]
    step.checkpoint()
    back = ServiceLearner(create_service(folder.root, folder.artifact, [*sets, "alpha.by=session"]))
    held = back.learner.replay.get_state()["columns"]
    assert not held[ODDS].any() and (held["obs"] == replay["obs"]).all()


@pytest.mark.parametrize("mode", ["greedy", "epsilon_greedy"])
def test_policies_without_such_propensities_are_refused(tmp_path: Path, mode: str) -> None:
    agent = dataclasses.replace(AGENT, exploration=mode)
    with pytest.raises(InputError, match=f"agent.exploration={mode}"):
        create_service(tmp_path / "service", make_artifact(tmp_path / "policy", agent=agent), ["alpha.by=session"])
    few: Artifact = dataclasses.replace(make_artifact(tmp_path / "few"), retrieval=RETRIEVAL)
    with pytest.raises(InputError, match="acts on candidates"):
        create_service(tmp_path / "service", few, ["alpha.by=session"])
