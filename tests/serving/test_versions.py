"""Versions are published whole, served by one pointer, and refused where they cannot be served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.errors import InputError
from ialp_rllib.serving.policy import PROMOTED, ServingPolicy
from ialp_rllib.serving.versions import BETA, CURRENT, Current, Versions, Watcher
from tests.serving.small import AGENT, NETWORK, L, N, weights


def test_publish_serve_and_go_back(tmp_path: Path) -> None:
    versions, policy = Versions(tmp_path), ServingPolicy(Policy(NETWORK), AGENT)
    watcher = Watcher(versions, policy)
    assert versions.current() == Current() and not watcher.refresh()
    one, two = versions.publish(weights(2), 0.2, {"updates": 7}), versions.publish(weights(3), 0.3, {})
    assert (one, two) == (1, 2) and versions.numbers() == [1, 2]
    assert versions.describe(1)["facts"] == {"updates": 7}
    versions.serve(Current(0, 1, 0, "the first", 1.0))
    assert watcher.refresh() and not watcher.refresh()
    assert policy.served.promoted.number == 0 and policy.served.canary is not None
    first = policy.served.canary
    versions.serve(Current(1, 2, 0, "better", 2.0))
    assert watcher.refresh()
    assert policy.served.promoted is first and policy.served.canary is not None
    assert policy.served.canary.alpha == 0.3
    assert torch.equal(first.beta.actor.bias, weights(2)["policy.actor.bias"])  # type: ignore[union-attr]
    versions.serve(Current(0, None, 0, "back", 3.0))
    assert watcher.refresh() and policy.served == (versions.load(0, NETWORK), None)


def test_what_cannot_be_served_is_refused_and_the_old_version_kept(tmp_path: Path) -> None:
    versions, policy = Versions(tmp_path), ServingPolicy(Policy(NETWORK), AGENT)
    watcher = Watcher(versions, policy)
    versions.publish(weights(2), 0.2, {})
    versions.serve(Current(1))
    assert watcher.refresh()
    bad = weights(2)
    bad["policy.actor.bias"][0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        versions.publish(bad, 0.2, {})
    assert versions.numbers() == [1]
    for number, damage in ((2, b"x" * 10), (3, b"")):
        versions.publish(weights(3), 0.2, {})
        path = versions.folder / f"{number:08d}" / BETA
        path.write_bytes(path.read_bytes()[:-10] + damage)
        versions.serve(Current(number, None, 1))
        assert not watcher.refresh() and "beta.safetensors" in watcher.refused
        assert policy.served.promoted.number == 1
    (tmp_path / CURRENT).write_text("{")
    assert not watcher.refresh() and "damaged" in watcher.refused
    seen = np.full((1, 1 + L), N, np.int32)
    assert policy.choices(seen, np.array([PROMOTED])).version.tolist() == [1]


def test_a_version_that_was_never_published_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not published"):
        Versions(tmp_path).serve(Current(4))


def test_what_was_changed_meanwhile_is_not_undone(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    versions.publish(weights(2), 0.2, {})
    seen = versions.current()
    assert versions.serve(Current(1, None, 0, "by hand", 1.0), instead_of=seen)
    assert not versions.serve(Current(0, 1, 0, "by the learner", 2.0), instead_of=seen)
    assert versions.current().reason == "by hand"
