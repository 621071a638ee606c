"""A service of a policy on candidates serves what such a policy is, for each arm, with an index per version."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from ialp_rllib.agent.policy.retrieval import OnCandidates, Retrieval
from ialp_rllib.serving.artifact import BETA, read_artifact, write_artifact
from ialp_rllib.serving.policy import CONTROL, PROMOTED, Served, ServingPolicy
from ialp_rllib.serving.versions import Versions
from ialp_rllib.settings import CandidateSettings
from tests.serving.small import AGENT, ITEMS, NETWORK, SERVING, N, weights
from tests.serving.test_policy import states

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
        known = policy.probabilities(seen, np.full(len(seen), arm))
        np.testing.assert_allclose(known.probs, expected / expected.sum(1, keepdim=True), atol=1e-7)
        assert (known.probs > 0).sum(1).min() >= N - 3, "every item that may be shown has a chance"
        assert not any(known.fallback)


def test_the_parts_of_an_export_load_as_policies_on_candidates(tmp_path: Path) -> None:
    artifact = read_artifact(write(tmp_path, RETRIEVAL))
    assert artifact.has_beta and artifact.weights(BETA).is_file()
    without = read_artifact(write(tmp_path / "plain", None))
    assert without.retrieval is None
