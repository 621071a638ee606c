"""Candidates that a policy proposes to a judge."""

from __future__ import annotations

import pytest
import torch

from ialp_rllib.agent.policy.exploration import propose, row_blocks, sample
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from tests.agent.small import make_algorithm

PROBS = torch.tensor([0.0, 0.3, 0.0, 0.22, 0.18, 0.14, 0.1, 0.06])
TOP = {1, 3, 4, 5}  # of four


@pytest.mark.parametrize("strategy", ["sampled", "top", "mix"])
@pytest.mark.parametrize("k", [1, 4, 5, 6])
def test_candidates_are_distinct_allowed_and_in_random_order(strategy: str, k: int) -> None:
    torch.manual_seed(0)
    items = propose(PROBS.expand(6000, 8), k, strategy)
    assert items.shape == (6000, k)
    assert all(len(set(row)) == k for row in items.tolist())
    assert (PROBS[items] > 0).all()
    best = (items == 1).float().mean(0)  # frequency of the most probable item at each position
    assert torch.allclose(best, best.mean().expand(k), atol=0.025)


def test_mix_is_the_top_half_and_a_sample_of_the_rest() -> None:
    torch.manual_seed(0)
    assert all(set(row) == TOP for row in propose(PROBS.expand(50, 8), 4, "top").tolist())
    mixed = propose(PROBS.expand(20_000, 8), 3, "mix")  # two of three
    others = torch.tensor([next(iter(set(row) - {1, 3})) for row in mixed.tolist()])
    assert all({1, 3} < set(row) for row in mixed.tolist())
    frequency = torch.bincount(others, minlength=8) / 20_000
    remaining = torch.where(torch.tensor([True] * 4 + [False] * 4), 0.0, PROBS)
    assert torch.allclose(frequency, remaining / remaining.sum(), atol=0.015)
    with pytest.raises(ValueError, match="expected sampled, top or mix"):
        propose(PROBS[None], 3, "best")


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("strategy", ["sampled", "top", "mix"])
def test_peaked_policy_proposes_only_allowed_items(strategy: str) -> None:
    """All probabilities but one underflow to 0: the remaining candidates must not be masked items."""
    algorithm = make_algorithm(candidates=5, agent={"mask_recent": -1})
    runner = algorithm.env_runner_group.local_env_runner
    module: ActorCriticModule = runner.module
    with torch.no_grad():
        module.policy.actor.bias[7] = 1e4
    observation = torch.from_numpy(runner.env.reset(seed=0)[0])
    observation[:, -3:] = torch.tensor([1, 2, 3])
    for _ in range(50):
        items = module.propose(observation, strategy)
        assert (items == 7).any(1).all()
        assert not torch.isin(items, torch.tensor([1, 2, 3, 20])).any()
        assert all(len(set(row)) == 5 for row in items.tolist())
    algorithm.stop()


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1 - 2**-24])  # the ends of what torch.rand returns, and its middle
def test_items_of_weight_zero_are_never_sampled(drawn: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, drawn))
    weights = torch.tensor([[0.0, 0.2, 0.0, 0.3, 0.0], [0.0, 0.0, 7.0, 0.0, 0.0]])
    assert (weights.gather(1, sample(weights)[:, None]) > 0).all()


def test_blocks_of_states_draw_what_all_at_once_do() -> None:
    assert list(row_blocks(70, 300)) == [slice(0, (1 << 24) // 300)]
    parts = list(row_blocks(70, 1_000_000))
    assert [part.stop - part.start for part in parts[:2]] == [16, 16]
    probs = torch.rand(70, 9, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    whole = sample(probs)
    torch.manual_seed(1)
    assert torch.cat([sample(probs[part]) for part in parts]).tolist() == whole.tolist()
