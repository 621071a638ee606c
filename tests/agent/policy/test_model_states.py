"""Sessions that a model plays without a world, and what the actor learns in them."""

from __future__ import annotations

import numpy as np
import torch

from ialp_rllib.agent.policy.model_states import own_targets
from ialp_rllib.agent.policy.networks import NetworkConfig

ITEMS, STEPS = 9, 4
NETWORK = NetworkConfig(n_items=ITEMS, dim=8, history=3, mask_recent=-1)


def likes_the_next(history: np.ndarray) -> np.ndarray:
    """The item after the last one has the highest score, and so on; those of the session cannot come next."""
    steps = (np.arange(ITEMS) - history[:, -1:]) % ITEMS
    scores = (-steps).astype(np.float32)
    row, column = np.nonzero(history < ITEMS)
    scores[row, history[row, column]] = -np.inf
    return scores


def test_greedy_sessions_follow_the_model_and_no_session_repeats_an_item() -> None:
    users, starts = np.arange(6), np.array([8, 0, 2, 0, 1, 0])
    found = own_targets(likes_the_next, users, starts, ITEMS, NETWORK, STEPS, 1.0, 0)
    assert len(found) == 6 * STEPS
    sessions = found.observation.reshape(6, STEPS, 4)
    assert torch.equal(sessions[:, :, 0], torch.arange(6)[:, None].expand(6, STEPS).int()), "session by session"
    assert sessions[0, :, 1:].tolist() == [[9, 9, 8], [9, 8, 0], [8, 0, 1], [0, 1, 2]]
    assert found.items.reshape(6, STEPS, -1)[0, :, 0].tolist() == [0, 1, 2, 3]
    for session, first in zip(sessions[:, :, -1].tolist(), starts.tolist(), strict=True):
        assert session[0] == first and len(set(session)) == STEPS
    again = own_targets(likes_the_next, users, starts, ITEMS, NETWORK, STEPS, 1.0, 0)
    other = own_targets(likes_the_next, users, starts, ITEMS, NETWORK, STEPS, 1.0, 1)
    assert torch.equal(found.observation, again.observation)
    greedy = torch.tensor([True, False, True, False, True, False])
    assert torch.equal(sessions[greedy], other.observation.reshape(6, STEPS, 4)[greedy])
    assert not torch.equal(found.observation, other.observation), "the others are sampled"


def test_a_start_is_played_greedily_once() -> None:
    starts = np.array([2, 0, 2, 0])
    found = own_targets(likes_the_next, np.arange(4), starts, ITEMS, NETWORK, STEPS, 100.0, 0)
    first, second = (found.observation.reshape(4, STEPS, 4)[row, :, 1:].tolist() for row in (0, 2))
    assert first == [[9, 9, 2], [9, 2, 3], [2, 3, 4], [3, 4, 5]] and second != first
