"""Propensities are those of the whole act: what is served follows them, through masks, mixture, fallback and slates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ialp_rllib.agent.policy.exploration import act_probabilities
from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.errors import IalpError
from ialp_rllib.serving.choice import FromAll, draw
from ialp_rllib.serving.policy import (
    CANARY,
    CONTROL,
    MISSING,
    NOT_FINITE,
    PROMOTED,
    SLOW,
    Served,
    ServingPolicy,
    Version,
    load_version,
)
from ialp_rllib.settings import AgentSettings
from tests.serving.small import AGENT, NETWORK, L, N, probabilities, weights


def make_policy(agent: AgentSettings = AGENT, **options: object) -> ServingPolicy:
    theta = Policy(NETWORK)
    theta.load_state_dict({k.removeprefix("policy."): v for k, v in weights(1).items() if k.startswith("policy.")})
    return ServingPolicy(theta, agent, **options)  # type: ignore[arg-type]


def states(count: int, seed: int = 0) -> np.ndarray:
    """Observations of sessions of 0 to 5 items."""
    rng = np.random.default_rng(seed)
    seen = np.full((count, 1 + L), N, np.int32)
    seen[:, 0] = 0
    for row in range(count):
        length = int(rng.integers(L + 1))
        seen[row, 1 + L - length :] = rng.permutation(N)[:length]
    return seen


def arms_of(count: int) -> np.ndarray:
    return np.arange(count) % 3


def served() -> Served:
    return Served(load_version(3, 0.4, weights(2), NETWORK), load_version(4, 0.7, weights(3), NETWORK))


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """p-value; cells with an expectation under 5 are joined."""
    order = np.argsort(expected)
    counts, expected = counts[order], expected[order]
    few = int((expected.cumsum() < 5).sum()) + 1
    counts = np.concatenate([[counts[:few].sum()], counts[few:]])
    expected = np.concatenate([[expected[:few].sum()], expected[few:]])
    return float(stats.chisquare(counts, expected).pvalue)


def test_probabilities_are_those_of_the_formula() -> None:
    policy, seen, arms = make_policy(), states(30), arms_of(30)
    policy.swap(served())
    known, probs = policy.choices(seen, arms), probabilities(policy, seen, arms)
    observation = torch.from_numpy(seen)
    theta = torch.softmax(policy.theta(observation), -1)[:, :-1].double()
    betas = {
        arm: torch.softmax(version.beta(observation), -1)[:, :-1].double()
        for arm, version in ((PROMOTED, policy.served.promoted), (CANARY, policy.served.canary))
    }
    for row, arm in enumerate(arms):
        alpha = {CONTROL: 0.0, CANARY: 0.7, PROMOTED: 0.4}[int(arm)]
        expected = theta[row] if arm == CONTROL else (1 - alpha) * theta[row] + alpha * betas[int(arm)][row]
        np.testing.assert_allclose(probs[row], expected / expected.sum(), rtol=1e-5, atol=1e-9)
        assert known.alpha[row] == alpha and known.version[row] == {CONTROL: 0, CANARY: 4, PROMOTED: 3}[int(arm)]
        recent = seen[row, -3:]
        assert (probs[row, recent[recent < N]] == 0).all()
    np.testing.assert_allclose(probs.sum(1), 1)
    assert known.fallback == [""] * 30


def test_without_a_canary_its_sessions_get_the_promoted_version() -> None:
    policy = make_policy()
    policy.swap(Served(served().promoted))
    assert policy.choices(states(3), np.full(3, CANARY)).version.tolist() == [3, 3, 3]
    policy.swap(Served())
    assert policy.choices(states(3), np.full(3, PROMOTED)).version.tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["categorical", "epsilon_greedy", "greedy"])
def test_what_is_served_follows_the_logged_probabilities(mode: str) -> None:
    check_served(mode, 4_000 if mode == "greedy" else 8_000)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["categorical", "epsilon_greedy"])
def test_a_hundred_thousand_served_items_follow_them(mode: str) -> None:
    check_served(mode, 100_000)


def check_served(mode: str, count: int) -> None:
    """Through a hand-over of versions, masks, all arms, a fallback and slates: chi-square over items, by position."""
    policy = make_policy(AgentSettings(**{**vars(AGENT), "exploration": mode, "epsilon": 0.3}))
    rng, block = torch.Generator().manual_seed(3), 1000 if mode == "greedy" else 2000
    counts, expected = np.zeros((2, N)), np.zeros((2, N))
    first = {(CONTROL, ""): 0, (PROMOTED, ""): 0, (PROMOTED, MISSING): 0}
    phases = [Served(), served(), Served(Version(5, 0.6), served().canary), Served(served().promoted)]
    for number in range(count // block):
        policy.swap(phases[number % len(phases)])
        seen, arms = states(50, number), arms_of(50)
        seen, arms = np.repeat(seen, block // 50, 0), np.repeat(arms, block // 50)
        slate = 1 + np.arange(block) % 3
        raw = torch.zeros(block, N, dtype=torch.float64)
        for part, choice in policy.choices(seen, arms).parts:
            assert isinstance(choice, FromAll)
            raw[part] = choice.weights
        probs = act_probabilities(raw, mode, 0.3).numpy()
        acts = policy.act(seen, arms, slate, rng)
        rows = np.arange(block)
        for arm, reason in zip(arms.tolist(), acts.fallback, strict=True):
            first[arm, reason] = first.get((arm, reason), 0) + 1
        np.testing.assert_allclose(acts.probability[:, 0], probs[rows, acts.items[:, 0]], rtol=1e-12)
        counts[0] += np.bincount(acts.items[:, 0], minlength=N)
        expected[0] += probs.sum(0)
        second = rows[slate > 1]  # as if the first item of the slate could not be shown
        raw[rows, acts.items[:, 0]] = 0.0
        rest = act_probabilities(raw, mode, 0.3).numpy()[second]
        np.testing.assert_allclose(
            acts.probability[second, 1], rest[np.arange(len(second)), acts.items[second, 1]], rtol=1e-6
        )
        counts[1] += np.bincount(acts.items[second, 1], minlength=N)
        expected[1] += rest.sum(0)
        assert (acts.items[slate == 1, 1:] == -1).all() and (acts.items[slate == 3, 2] >= 0).all()
    assert all(first.values()), first
    if mode == "greedy":
        np.testing.assert_array_equal(counts, expected)
        return
    assert chi_square(counts[0], expected[0]) > 1e-3
    assert chi_square(counts[1], expected[1]) > 1e-3


def test_a_slate_that_runs_out_of_items_is_shorter() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    items, each = draw(probs, 4, torch.Generator().manual_seed(0))
    assert sorted(items[0, :2].tolist()) == [0, 2]
    assert each[0].tolist() == [0.5, 1.0, 0.0, 0.0] and each[1].tolist() == [0.0] * 4
    policy = make_policy()
    acts = policy.act(states(2), np.zeros(2, np.int64), np.array([50, 1]), torch.Generator().manual_seed(0))
    row = acts.items[0]
    assert len(set(row[row >= 0])) == (row >= 0).sum() >= N - 3
    one, alone = draw(probs, 1, torch.Generator().manual_seed(0))
    assert one[0, 0] in (0, 2) and alone[1, 0] == 0


def test_the_joint_probability_of_slates_sums_to_one() -> None:
    probs = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).repeat(3000, 1)
    items, each = draw(probs, 2, torch.Generator().manual_seed(1))
    pairs = {tuple(pair): float(p) for pair, p in zip(items.tolist(), each.prod(1), strict=True)}
    assert len(pairs) == 6 and abs(sum(pairs.values()) - 1) < 1e-12
    assert abs(pairs[0, 1] - 0.6 * 0.3 / 0.4) < 1e-12


def test_theta_acts_where_beta_cannot() -> None:
    now = [0.0]
    policy, seen, arms = make_policy(deadline=1.0, cool_down=5.0, clock=lambda: now[0]), states(4), np.full(4, PROMOTED)
    theta = probabilities(policy, seen, arms)
    policy.swap(Served(Version(7, 0.5)))
    known = policy.choices(seen, arms)
    assert known.fallback == [MISSING] * 4 and known.alpha.tolist() == [0.0] * 4 and known.version.tolist() == [7] * 4
    np.testing.assert_array_equal(probabilities(policy, seen, arms), theta)
    good = served().promoted
    assert good.items is not None
    policy.swap(Served(good._replace(items=good.items * float("nan"))))
    assert policy.choices(seen, arms).fallback == [NOT_FINITE] * 4

    beta = good.beta
    assert beta is not None

    def slow(module: torch.nn.Module, inputs: object) -> None:
        now[0] += 3.0

    beta.encoder.register_forward_pre_hook(slow)
    policy.swap(Served(good))
    assert policy.choices(seen, arms).fallback == [""] * 4  # decided before it was known how slow it is
    assert policy.choices(seen, arms).fallback == [SLOW] * 4
    now[0] += 6.0
    assert policy.choices(seen, arms).fallback == [""] * 4


def test_weights_that_are_not_finite_are_refused() -> None:
    bad = weights(2)
    bad["policy.actor.bias"][3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        load_version(1, 0.5, bad, NETWORK)
    policy = make_policy()
    policy._items = policy._items * float("nan")
    with pytest.raises(IalpError, match="pi_theta"):
        policy.choices(states(1), np.zeros(1, np.int64))


def test_a_batch_is_served_by_one_set_of_versions() -> None:
    """Versions that are exchanged in the middle of a batch do not mix in it."""
    policy, other = make_policy(), Served(load_version(9, 0.9, weights(4), NETWORK))
    one = served()
    policy.swap(one)
    assert one.promoted.beta is not None
    one.promoted.beta.encoder.register_forward_pre_hook(lambda *_: policy.swap(other))
    known = policy.choices(states(9), arms_of(9))
    assert set(known.version.tolist()) == {0, 3, 4}
    assert policy.served is other


def test_logits_that_overflow_in_one_arm_mark_no_decision_of_the_other() -> None:
    """A good version cannot be taken back for another one's overflow, though one batch holds sessions of both."""
    good, bad = load_version(3, 0.4, weights(2), NETWORK), {name: w.clone() for name, w in weights(3).items()}
    for layer in (0, 2):
        bad[f"policy.actor.hidden.{layer}.weight"] *= 1e30
    policy = make_policy()
    for arm, served_now in ((CANARY, (good, 4)), (PROMOTED, (4, good))):
        overflowing = load_version(4, 0.7, bad, NETWORK)
        policy.swap(Served(*(overflowing if one == 4 else one for one in served_now)))  # type: ignore[misc, arg-type]
        arms = np.array([CANARY, PROMOTED] * 20)
        found = policy.choices(states(40), arms)
        assert [reason == NOT_FINITE for reason in found.fallback] == (arms == arm).tolist()
        assert (found.version == np.where(arms == arm, 4, 3)).all() and (found.alpha[arms == arm] == 0).all()


def test_one_item_is_drawn_with_the_numbers_of_the_precision_of_its_probabilities() -> None:
    probs = torch.from_numpy(np.random.default_rng(0).dirichlet([0.3] * 50, size=400))
    probs[3] = 0.0
    items, each = draw(probs, 1, torch.Generator().manual_seed(5))
    cumulative = probs.cumsum(-1)
    uniform = torch.rand(400, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected = torch.searchsorted(cumulative, (1 - uniform) * cumulative[:, -1:]).clamp(max=49)
    assert torch.equal(items, expected) and torch.equal(each, probs.gather(1, expected))
    assert (each[torch.arange(400) != 3] > 0).all()
