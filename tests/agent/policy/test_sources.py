"""Sources of imitation: which rows they have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.sources import NextItems
from tests.users.small import ITEMS, make_catalogue


@pytest.mark.parametrize(("recent", "kept"), [(-1, 1), (2, 1), (1, 2), (0, 2)])
def test_rows_that_the_action_mask_forbids_are_left_out(recent: int, kept: int) -> None:
    """The log of user 0 is 5, 6, 5: the last 5 repeats the item before the last."""
    catalogue = make_catalogue()
    log = {"user": np.zeros(3, np.int32), "item": np.array([5, 6, 5], np.int32)}
    log |= {"rating": np.full(3, np.nan, np.float32), "split": np.zeros(3, np.int8)}
    network = NetworkConfig(n_items=ITEMS, history=3, mask_recent=recent)
    found = NextItems.of(replace(catalogue, **log), np.array([0]), network)
    assert found.item.tolist() == [6, 5][:kept]
    assert found.observation.tolist() == [[0, ITEMS, ITEMS, 5], [0, ITEMS, 5, 6]][:kept]
    assert not len(NextItems.of(replace(catalogue, **log), np.array([1]), network))
