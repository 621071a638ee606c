"""The gate's decisions, one threshold at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ialp_rllib.ope.bounds import Estimate
from ialp_rllib.ope.estimators import Weights
from ialp_rllib.ope.evaluate import Evaluation
from ialp_rllib.ope.gate import HOLD, PASS, REFUSE, decide
from ialp_rllib.settings import GateSettings

GATE = GateSettings()


def evaluation(difference: float = 0.1, half: float = 0.2, sessions: int = 1000, **changes: Any) -> Evaluation:
    """Of a policy that replaces one with a return of 20."""
    rho = np.ones((sessions, 2))
    estimate = Estimate(difference, difference - half, difference + half, half / 2)
    level = Estimate(20 + difference, 20 + difference - half, 20 + difference + half, half / 2)
    made = Evaluation(
        name="p",
        values={"DR": np.zeros(sessions), "PDIS": np.zeros(sessions)},
        returns=np.full(sessions, 20.0),
        user=np.arange(sessions),
        level={"DR": level, "PDIS": level},
        difference={"DR": estimate, "PDIS": estimate},
        resampled={},
        lowest=10.0,
        weights=Weights(rho, rho, np.ones((sessions, 2), bool)),
        effective=np.full(2, float(sessions)),
        unsupported=0.0,
        apart=Estimate(0.0, -0.1, 0.1, 0.05),
        unknown=0,
    )
    return replace(made, **changes)


def weights(last: np.ndarray) -> Weights:
    rho = np.stack([last, last], 1)
    return Weights(rho, rho, np.ones(rho.shape, bool))


def test_a_good_policy_passes() -> None:
    found = decide(evaluation(), GATE)
    assert found.decision == PASS and "+0.5%" in found.reasons[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sessions": 400}, "400 sessions ended"),
        ({"weights": weights(np.append(np.full(100, 10.0), np.full(900, 1e-3)))}, "effective sample size is 100"),
        ({"weights": weights(np.append(60.0, np.ones(999)))}, "one session has 5.7%"),
        ({"unsupported": 0.06}, "6.0% of the policy's probability"),
        ({"apart": Estimate(0.6, 0.2, 1.0, 0.2)}, "3.0 standard errors apart"),
    ],
)
def test_what_the_log_cannot_tell_is_refused(changes: dict[str, Any], reason: str) -> None:
    found = decide(evaluation(**changes), GATE)
    assert found.decision == REFUSE and len(found.reasons) == 1
    assert reason in found.reasons[0]


def test_a_small_bias_of_the_critic_is_no_contradiction() -> None:
    assert decide(evaluation(apart=Estimate(0.3, 0.2, 0.4, 0.05)), GATE).decision == PASS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"difference": -1.0}, "is worse than"),
        ({"half": 2.0}, "may lose more than the margin"),
        ({"difference": float("nan")}, "may lose more than the margin"),
    ],
)
def test_what_may_be_worse_is_held(changes: dict[str, Any], reason: str) -> None:
    found = decide(evaluation(**changes), GATE)
    assert found.decision == HOLD and reason in found.reasons[0]


def test_the_honest_check_holds() -> None:
    low = Estimate(-2.0, -2.5, -1.5, 0.2)
    good = evaluation()
    found = decide(replace(good, difference={"DR": good.difference["DR"], "PDIS": low}), GATE)
    assert found.decision == HOLD and "contradicts" in found.reasons[0]


def test_where_the_hand_over_leads_counts_as_far_as_the_log_tells() -> None:
    worse = evaluation(-2.0)
    assert decide(evaluation(), GATE, alone=worse).decision == HOLD
    assert decide(evaluation(), GATE, alone=replace(worse, unsupported=0.5)).decision == PASS


def test_the_margin_is_a_share_of_the_return_that_is_replaced() -> None:
    assert decide(evaluation(-0.1, 0.4), GATE).decision == HOLD
    assert decide(evaluation(-0.1, 0.4), GATE, base=30.0).decision == PASS


def test_a_policy_that_the_log_cannot_judge_is_no_reference() -> None:
    unknown = evaluation(weights=weights(np.append(np.full(100, 10.0), np.full(900, 1e-3))), unsupported=0.5)
    found = decide(evaluation(19.0), GATE, base=1.0, reference=unknown)
    assert found.decision == REFUSE and len(found.reasons) == 2
    assert all(reason.startswith("of the policy that it would replace, ") for reason in found.reasons)
    assert decide(evaluation(), GATE, reference=evaluation()).decision == PASS
    assert len(decide(evaluation(sessions=400), GATE, reference=evaluation(sessions=400)).reasons) == 1
