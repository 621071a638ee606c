"""The calibrated conservative term: its value, its blocks, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from ialp_rllib.agent.policy.blockwise import LazyScores
from ialp_rllib.agent.policy.calibrated import conservative_term

ITEMS = 7


def test_it_is_that_of_the_whole_matrix_and_moves_nothing_below_the_return() -> None:
    torch.manual_seed(0)
    hidden, items, bias = torch.randn(4, 3), torch.randn(ITEMS + 1, 3), torch.randn(ITEMS + 1)
    value, action = torch.randn(4), torch.tensor([1, 6, 0, 3])
    returns = torch.tensor([0.3, torch.nan, -50.0, 40.0])
    whole = (hidden @ items.T + bias + value[:, None])[:, :ITEMS].requires_grad_(True)
    rows = torch.tensor([0, 2, 3])
    raised = torch.maximum(whole[rows], returns[rows, None])
    expected = (torch.logsumexp(raised, 1) - whole[rows, action[rows]]).mean()
    for size in (3, 100):
        found = conservative_term(LazyScores(hidden, items, bias), value, action, returns, ITEMS, size=size)
        assert float(found) == pytest.approx(float(expected.detach()), rel=1e-5)
    expected.backward()  # type: ignore[no-untyped-call]
    moved = whole.grad
    assert moved is not None and (moved[1] == 0).all()
    low = (whole < returns[:, None]) & (torch.arange(ITEMS) != action[:, None])
    assert low[3].any() and (moved[low] == 0).all() and (moved[2] != 0).all()


def test_without_a_return_there_is_no_term() -> None:
    value = torch.ones(2, requires_grad=True)
    scores = LazyScores(torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(5))
    term = conservative_term(scores, value, torch.tensor([0, 1]), torch.full((2,), torch.nan), 4, size=9)
    term.backward()
    assert float(term.detach()) == 0 and value.grad is not None and value.grad.tolist() == [0, 0]
