"""Policies on candidates: their probabilities by definition, and equality with the policy over all items."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import FrozenPolicy, compare_policies, mean_score, policy_statistics
from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.index import ExactIndex, FaissIndex
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig, masked_items
from ialp_rllib.agent.policy.rows import Lag, tables_of
from ialp_rllib.agent.policy.shortlists import (
    Part,
    Scored,
    acting,
    choose,
    compare,
    item_scores,
    mean_of_others,
    shortlist,
    staleness,
    statistics,
)
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CandidateSettings

N, B, L = 30, 6, 5
NETWORK = NetworkConfig(N, L, dim=8, mask_recent=2)
SOME = CandidateSettings(count=7, popular=4, epsilon=0.1)
ALL = dataclasses.replace(SOME, count=N, epsilon=0.0)
POPULARITY = np.random.default_rng(5).integers(0, 50, N)


def network(seed: int, config: NetworkConfig = NETWORK) -> ActorCritic:
    torch.manual_seed(seed)
    net = ActorCritic(config)
    with torch.no_grad():
        for bias in (net.policy.actor.bias, net.critic.advantage.bias):
            bias.normal_()
        net.policy.encoder.items.id.weight.mul_(5)
    return net


def observations() -> Tensor:
    rng = np.random.default_rng(0)
    seen = torch.from_numpy(rng.integers(0, N, (B, L)))
    seen[0, :4] = N
    seen[1, -1] = seen[1, -2]  # one item twice among the masked ones
    return torch.cat([torch.zeros(B, 1, dtype=torch.int64), seen], 1)


def candidates_of(net: ActorCritic, settings: CandidateSettings = SOME) -> Candidates:
    found = Candidates(N, 8, settings, POPULARITY)
    found.own.take(net.policy)
    return found


def by_definition(
    net: ActorCritic, settings: CandidateSettings, theta: ActorCritic | None = None, alpha: float = 1.0
) -> Tensor:
    """(1 - eps) softmax over C(s) + eps q, with loops over states and items."""
    observation = observations()
    nets = [net] if theta is None else [net, theta]
    counts = [settings.count] if theta is None else [settings.count - settings.count // 2, settings.count // 2]
    raw = []
    for one in nets:
        policy, items = one.policy, one.policy.encoder.items()
        raw.append(policy.actor(policy.encoder(observation, items), items)[:, :-1].detach().numpy().astype(float))
    popular = np.argsort(-POPULARITY, kind="stable")[: settings.popular]
    result = np.zeros((B, N + 1))
    for row in range(B):
        masked = set(observation[row, 1:][-2:].tolist())
        chosen = set(popular.tolist())
        for scores, count in zip(raw, counts, strict=True):
            chosen |= set(np.argsort(-scores[row])[:count].tolist())
        c = sorted(chosen - masked)
        softmax = [np.exp(scores[row, c]) / np.exp(scores[row, c]).sum() for scores in raw]
        mixed = softmax[0] if theta is None else alpha * softmax[0] + (1 - alpha) * softmax[1]
        q = np.array([0.0 if i in masked else max(POPULARITY[i], 1) ** 0.75 for i in range(N)])
        result[row, :-1] = settings.epsilon * q / q.sum()
        result[row, c] += (1 - settings.epsilon) * mixed
    return torch.from_numpy(result)


@pytest.mark.parametrize("mixed", [False, True])
def test_probabilities_are_those_of_the_definition(mixed: bool) -> None:
    net, theta = network(0), network(1)
    candidates = candidates_of(net)
    what = acting(candidates, net.policy, observations(), *((theta.policy, 0.3) if mixed else ()))
    expected = by_definition(net, SOME, theta if mixed else None, 0.3)
    dense = candidates.dense(what.found, what.probs)
    torch.testing.assert_close(dense, expected.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(dense.sum(1), torch.ones(B))
    greedy = choose(candidates, what, "greedy")
    assert greedy.tolist() == dense.argmax(1).tolist()


def test_items_are_drawn_with_their_probabilities() -> None:
    net = network(0)
    candidates, count = candidates_of(net, dataclasses.replace(SOME, epsilon=0.4)), 20_000
    what = acting(candidates, net.policy, observations()[2:3].repeat(count, 1))
    torch.manual_seed(0)
    share = torch.bincount(choose(candidates, what, "sampled"), minlength=N + 1) / count
    probs = candidates.dense(what.found, what.probs)[0]
    assert (share[probs == 0] == 0).all()
    assert ((share - probs).abs() <= 4 * (probs / count).sqrt() + 1e-9).all()


def test_temperature_sharpens_what_is_drawn_from_the_candidates() -> None:
    net, cold = network(0), torch.full((B,), 1e-3)
    candidates = candidates_of(net, dataclasses.replace(SOME, epsilon=0.0))
    what = acting(candidates, net.policy, observations())
    assert choose(candidates, what, "sampled", cold).tolist() == choose(candidates, what, "greedy").tolist()


def scored(
    net: ActorCritic, theta: ActorCritic, settings: CandidateSettings, alpha: float
) -> tuple[Candidates, Any, Any]:
    observation = observations()
    candidates = candidates_of(net, settings)
    part, frozen = Part.of(net.policy, observation), Part.of(theta.policy, observation)
    found = shortlist(candidates, observation, part, frozen)
    logits = part.scores(found)
    fixed = frozen.scores(found).detach()
    head = net.critic.advantage
    q = item_scores(head, head.hidden(part.state), found.items, part.rows(found.items)).detach()
    return candidates, Scored(found, logits, fixed, alpha, fixed), q


@pytest.mark.parametrize("shared", [False, True])
def test_candidates_that_are_all_items_give_the_policy_over_all_items(shared: bool) -> None:
    config = dataclasses.replace(NETWORK, shared_encoder=shared)
    nets, theta = [network(0, config), network(0, config)], network(1, config)
    observation, action = observations(), torch.tensor([3, 9, 12, 0, 29, 7])
    whole = nets[0]
    items = whole.policy.encoder.items()
    state = whole.policy.encoder(observation, items)
    logits, q = whole.policy.scores(observation, state, items), whole.critic.advantage.scores(state, items).detach()
    frozen = FrozenPolicy(theta.policy.scores_of(observation).detach(), 0.3)
    expected = policy_statistics(logits, action, q, frozen, frozen.logits, size=1000)
    candidates, what, values = scored(nets[1], theta, ALL, 0.3)
    actual = statistics(candidates, what, action, values)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(what.mean(values, 0.0), mean_score(q, logits, frozen, size=1000), atol=1e-6, rtol=1e-6)
    both = compare(candidates, what, action, values), compare_policies(q, logits, frozen, action, size=1000)
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for found in (expected, actual):
        torch.stack([values.sum() for values in found]).sum().backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(nets[1].policy.parameters(), nets[0].policy.parameters(), strict=True):
        if theirs.grad is not None:
            assert mine.grad is not None
            torch.testing.assert_close(mine.grad.to_dense(), theirs.grad, atol=1e-5, rtol=1e-5)


def test_statistics_are_those_of_the_probabilities() -> None:
    net, theta = network(0), network(1)
    candidates, what, q = scored(net, theta, SOME, 0.3)
    probs = by_definition(net, SOME, theta, 0.3)[:, :-1]
    everything = torch.arange(N)
    for action in everything:
        found = statistics(candidates, what, action.repeat(B), q)
        expected = probs[:, action].clamp(min=1e-12).log().float()
        torch.testing.assert_close(found.log_prob, expected, atol=1e-5, rtol=1e-5)
    entropy = -(probs * probs.clamp(min=1e-30).log()).sum(1)
    torch.testing.assert_close(found.entropy, entropy.float(), atol=1e-5, rtol=1e-5)


def test_the_mean_over_popular_items_is_estimated_without_bias() -> None:
    net, observation = network(0), observations()
    candidates = candidates_of(net)
    part = Part.of(net.policy, observation)
    found, head = shortlist(candidates, observation, part), net.critic.advantage
    hidden = head.hidden(part.state)
    torch.manual_seed(0)
    items = net.policy.encoder.items
    mean = mean_of_others(head, hidden, items, candidates.others(200_000), found)
    masked = masked_items(observation, 2, N)
    q = torch.from_numpy(np.append(np.maximum(POPULARITY, 1) ** 0.75, 0)).float().expand(B, -1).scatter(1, masked, 0.0)
    exact = (q / q.sum(1, keepdim=True) * head(part.state, items())).sum(1)
    torch.testing.assert_close(mean, exact.detach(), atol=0.02, rtol=0.02)


def test_rows_are_those_of_the_whole_table() -> None:
    texts = [{"brand": "a b" if item % 3 else "", "kind": f"k{item % 4}"} for item in range(N)]
    columns = {name: np.array([text[name] for text in texts], object) for name in ("brand", "kind")}
    vectors = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    chosen = torch.tensor([[3, 0, 0], [N, 29, 3]])
    for features in ({}, {"item_tokens": tokens_of(columns)}, {"text_vectors": vectors}):
        items = network(0, dataclasses.replace(NETWORK, **features)).policy.encoder.items
        torch.testing.assert_close(items.rows(chosen), items()[chosen])


def test_the_index_finds_the_best_items_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ialp_rllib.agent.policy.index._BLOCK", 7)
    rng = torch.Generator().manual_seed(0)
    vectors, bias, query = (torch.randn(*size, generator=rng) for size in ((N, 4), (N,), (B, 4)))
    expected = (query @ vectors.T + bias).topk(9, 1).indices
    assert ExactIndex(vectors, bias).search(query, 9).tolist() == expected.tolist()


def test_faiss_finds_most_of_them() -> None:
    pytest.importorskip("faiss", reason="needs the extra [ann]")
    rng = torch.Generator().manual_seed(0)
    vectors, bias, query = (torch.randn(*size, generator=rng) for size in ((2000, 8), (2000,), (B, 8)))
    exact = ExactIndex(vectors, bias).search(query, 20)
    all_lists, one_list = (FaissIndex(vectors, bias, probes).search(query, 20) for probes in (1000, 1))
    assert all_lists.sort(1).values.tolist() == exact.sort(1).values.tolist()
    assert len(set(one_list.flatten().tolist()) & set(exact.flatten().tolist())) > 0
    again = FaissIndex(vectors, bias, 1).search(query, 20)
    assert again.tolist() == one_list.tolist()


def test_without_faiss_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"(?s)agent.candidates.index.*\[ann\]"):
        FaissIndex(torch.zeros(4, 2), torch.zeros(4), 1)


def test_a_stale_index_says_what_it_still_finds() -> None:
    net = network(0)
    candidates = candidates_of(net, dataclasses.replace(SOME, count=4))
    coverage, mass = staleness(candidates, net.policy, observations())
    assert coverage == 1
    assert mass == pytest.approx(1)
    part = Part.of(net.policy, observations())
    found = candidates.own.search(part.hidden.detach(), 4)
    with torch.no_grad():
        net.policy.actor.bias.copy_(torch.linspace(-9, 9, N + 1))
        probs = torch.softmax(net.policy.actor(part.state, net.policy.encoder.items())[:, :-1], 1)
    after, less = staleness(candidates, net.policy, observations())
    assert after < 1
    assert less == pytest.approx(
        float((probs.gather(1, found).sum(1) / probs.topk(4, 1).values.sum(1)).mean()), abs=1e-5
    )


@pytest.mark.parametrize("index", ["exact", "faiss"])
def test_a_rebuild_takes_effect_when_it_is_swapped_in(index: str) -> None:
    if index == "faiss":
        pytest.importorskip("faiss", reason="needs the extra [ann]")
    net, query = network(0), torch.eye(8)
    own = candidates_of(net, dataclasses.replace(SOME, index=index, probes=100)).own
    before = own.search(query, 5).tolist()
    with torch.no_grad():
        net.policy.encoder.items.id.weight.neg_()
    own.begin(net.policy)
    items = net.policy.encoder.items()[:-1].detach().clone()
    expected = ExactIndex(items, net.policy.actor.bias[:-1].detach())
    net.policy.encoder.items.id.weight.detach().zero_()  # what comes after the beginning does not count
    assert own.pending
    assert own.search(query, 5).tolist() == before
    again = candidates_of(network(1), dataclasses.replace(SOME, index=index, probes=100)).own
    again.load_state_dict(own.state_dict())
    for one in (own, again):
        one.swap()
        assert not one.pending
        assert one.tag == own.tag
        assert one.search(query, 5).sort(1).values.tolist() == expected.search(query, 5).sort(1).values.tolist()


def test_rows_of_a_target_follow_as_if_all_were_moved() -> None:
    torch.manual_seed(0)
    online, target = network(0), network(0)
    dense, lag = network(0), Lag(N, 0.1)
    optimizer = torch.optim.SparseAdam([online.policy.encoder.items.id.weight], lr=0.1)
    for update in range(7):
        touched = torch.randint(N, (3,))
        optimizer.zero_grad()
        online.policy.encoder.items.rows(touched).square().sum().backward()  # type: ignore[no-untyped-call]
        lag.before_step(target, online, [optimizer])
        optimizer.step()
        lag.clock += 1
        with torch.no_grad():
            dense.policy.encoder.items.id.weight.lerp_(online.policy.encoder.items.id.weight, 0.1)
        if update % 3 == 0:
            lag.follow(target, online, torch.randint(N, (5,)))
    lag.follow(target, online, torch.arange(N + 1))
    for slow, expected in zip(tables_of(target), tables_of(dense), strict=True):
        torch.testing.assert_close(slow, expected, atol=1e-6, rtol=1e-6)
