"""A service of a policy on candidates serves what such a policy is, for each arm, with an index per version."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.agent.policy.retrieval import OnCandidates, Retrieval
from ialp_rllib.serving.artifact import BETA, read_artifact, write_artifact
from ialp_rllib.serving.history import Support
from ialp_rllib.serving.policy import CONTROL, PROMOTED, Served, ServingPolicy, load_version
from ialp_rllib.serving.states import States
from ialp_rllib.serving.versions import Versions
from ialp_rllib.settings import CandidateSettings
from tests.serving.small import AGENT, ITEMS, NETWORK, SERVING, N, probabilities, weights
from tests.serving.test_policy import chi_square, states

FEW = CandidateSettings(count=4, popular=4, epsilon=0.1)
RETRIEVAL = Retrieval(FEW, np.arange(N, dtype=np.float32))


def write(folder: Path, retrieval: Retrieval | None) -> Path:
    """An exported policy of two parts."""
    write_artifact(
        folder,
        method="aialp_ap",
        seed=0,
        agent=AGENT if retrieval is None else dataclasses.replace(AGENT, candidates=FEW),
        serving=SERVING,
        network=NETWORK,
        theta=weights(1),
        beta=weights(2),
        item_ids=ITEMS,
        retrieval=retrieval,
    )
    return folder


def test_an_exported_policy_on_candidates_is_served_exactly(tmp_path: Path) -> None:
    write(tmp_path, RETRIEVAL)
    artifact = read_artifact(tmp_path)
    assert artifact.retrieval is not None and artifact.retrieval.settings == FEW == artifact.agent.candidates
    policy = ServingPolicy(artifact.theta(), artifact.agent, retrieval=artifact.retrieval)
    published = Versions(tmp_path / "service")
    number = published.publish(weights(2), 0.3, {})
    policy.swap(Served(policy.prepared(published.load(number, artifact.network))))
    seen = states(30)
    for arm, mixed in ((CONTROL, False), (PROMOTED, True)):
        module = OnCandidates(NETWORK, mixed)
        first, second = (
            {key.replace("policy.", name, 1): value for key, value in part.items() if key.startswith("policy.")}
            for part, name in ((weights(2 if mixed else 1), "policy."), (weights(1), "theta."))
        )
        module.load_state_dict({**first, **(second | {"alpha": torch.tensor(0.3)} if mixed else {})})
        module.attach(RETRIEVAL)
        expected = module(torch.from_numpy(seen))[1][:, :-1].double()
        found = probabilities(policy, seen, np.full(len(seen), arm))
        np.testing.assert_allclose(found, expected / expected.sum(1, keepdim=True), atol=1e-7)
        assert (found > 0).sum(1).min() >= N - 3, "every item that may be shown has a chance"
        assert not any(policy.choices(seen, np.full(len(seen), arm)).fallback)


def served_on_candidates(exploration: str = "categorical") -> ServingPolicy:
    """A mixture on candidates."""
    theta = Policy(NETWORK)
    theta.load_state_dict({k.removeprefix("policy."): v for k, v in weights(1).items() if k.startswith("policy.")})
    agent = dataclasses.replace(AGENT, candidates=FEW, exploration=exploration)
    policy = ServingPolicy(theta, agent, retrieval=RETRIEVAL)
    policy.swap(Served(policy.prepared(load_version(3, 0.4, weights(2), NETWORK))))
    return policy


def test_what_is_drawn_on_candidates_follows_its_probabilities() -> None:
    """The first item of a slate, and the second as if the first could not be shown."""
    policy, rng = served_on_candidates(), torch.Generator().manual_seed(3)
    seen = np.repeat(states(5), 4000, 0)
    arms = np.arange(len(seen)) % 3
    probs = probabilities(policy, seen[::4000], np.arange(5) * 4000 % 3)  # of the first row of each state
    same = arms == np.repeat(arms[::4000], 4000)
    acts = policy.act(seen[same], arms[same], np.full(same.sum(), 2), rng)
    state = np.repeat(np.arange(5), 4000)[same]
    np.testing.assert_allclose(acts.probability[:, 0], probs[state, acts.items[:, 0]], rtol=1e-5)
    wanted = probs[state].sum(0)
    assert chi_square(np.bincount(acts.items[:, 0], minlength=N), wanted * len(state) / wanted.sum()) > 1e-3
    assert (acts.items[:, 1] >= 0).all() and (acts.items[:, 0] != acts.items[:, 1]).all()
    # the joint probability of pairs is that of their frequency
    pairs = (state * N + acts.items[:, 0]) * N + acts.items[:, 1]
    _, at, times = np.unique(pairs, return_index=True, return_counts=True)
    expected = np.bincount(state)[state[at]] * acts.probability[at].prod(1)
    kept = expected > 5
    assert chi_square(times[kept], expected[kept] * times[kept].sum() / expected[kept].sum()) > 1e-3
    assert abs(expected.sum() / len(state) - 1) < 0.02


def test_a_slate_on_candidates_ends_where_they_do() -> None:
    policy, seen = served_on_candidates(), states(20)
    acts = policy.act(seen, np.full(20, PROMOTED), np.full(20, N), torch.Generator().manual_seed(0))
    for row in acts.items:
        shown = row[row >= 0].tolist()
        assert 3 <= len(shown) == len(set(shown))


def test_a_greedy_slate_on_candidates_is_the_best_of_them() -> None:
    policy, seen = served_on_candidates("greedy"), states(20)
    sampled = probabilities(served_on_candidates(), seen, np.full(20, PROMOTED))
    acts = policy.act(seen, np.full(20, PROMOTED), np.full(20, 2), torch.Generator().manual_seed(0))
    assert (acts.probability == 1).all()
    np.testing.assert_array_equal(acts.items, np.argsort(-sampled, 1)[:, :2])
    np.testing.assert_array_equal(policy.choices(seen, np.full(20, PROMOTED)).of(acts.items[:, 0]), 1)


def test_the_support_of_a_version_is_that_on_its_candidates() -> None:
    """What one version logged has the weights of that version for itself: all sessions count."""
    policy, other = served_on_candidates(), served_on_candidates()
    seen_states = States(NETWORK, ITEMS, level_range=(0.0, 5.0))
    items = [[ITEMS[n % N], ITEMS[(n + 4) % N]] for n in range(40)]
    seen = seen_states.observe(items, [[]] * 40, [""] * 40)
    acts = policy.act(seen, np.full(40, PROMOTED), np.ones(40, np.int64), torch.Generator().manual_seed(0))
    support = Support(other, seen_states)
    columns = {"items": items, "answers": [None] * 40, "user": [""] * 40, "position": [0] * 40}
    shown = {"item": [ITEMS[n] for n in acts.items[:, 0]], "probability": acts.probability[:, 0].tolist()}
    support.add({**columns, **shown})
    assert support.effective_sample_size(load_version(3, 0.4, weights(2), NETWORK)) > 1 - 1e-5
    assert support.effective_sample_size(load_version(4, 0.9, weights(5), NETWORK)) < 0.95


def test_the_parts_of_an_export_load_as_policies_on_candidates(tmp_path: Path) -> None:
    artifact = read_artifact(write(tmp_path, RETRIEVAL))
    assert artifact.has_beta and artifact.weights(BETA).is_file()
    without = read_artifact(write(tmp_path / "plain", None))
    assert without.retrieval is None
