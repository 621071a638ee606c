"""Evaluations of simulated logs against true returns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.errors import InputError
from ialp_rllib.ope.evaluate import compared, ended_sessions, evaluate
from ialp_rllib.ope.gate import HOLD, PASS, REFUSE, decide
from ialp_rllib.ope.simulate import true_return
from ialp_rllib.ope.targets import saved_target
from ialp_rllib.settings import FQESettings, OPESettings
from tests.ope import world

SETTINGS = OPESettings(resamples=100, fqe=FQESettings(folds=2, epochs=15, updates=450, batch=128, learning_rate=5e-3))
SESSIONS = 800
LOG = world.log(0.2, SESSIONS)


@pytest.mark.parametrize("by", ["step", pytest.param("session", marks=pytest.mark.slow)])
def test_estimates_agree_with_the_truth(by: str) -> None:
    sessions = world.sessions(world.log(0.2, SESSIONS, by=by))
    found = evaluate(sessions, world.mixed(0.5, by), SETTINGS)
    true, error = true_return(world.make_world(), world.mixed(0.5, by), 4000, 9)
    for name, level in found.level.items():
        bias = 0.05 * true if name == "FQE" else 0.0  # of a short fit; its interval knows nothing of it
        assert abs(level.value - true) < 3 * np.hypot(level.error, error) + bias, name
    logged = true_return(world.make_world(), world.mixed(0.2, by), 4000, 9)[0]
    difference = found.difference["DR"]
    assert abs(difference.value - (true - logged)) < 3 * np.hypot(difference.error, 1.4 * error)
    assert found.lowest < true and found.unsupported < 0.02 and found.weights.effective > 0.5 * SESSIONS
    assert (found.effective[:-1] >= found.effective[1:] - 1e-6).all()
    if by == "session":  # bounded by the ratio of the shares, whatever the length
        assert found.weights.whole.max() <= 0.5 / 0.2 + 1e-4


def test_the_logging_policy_itself_has_no_difference() -> None:
    found = evaluate(world.sessions(LOG), world.mixed(0.2), SETTINGS)
    for name in ("DR", "WDR", "PDIS", "SNPDIS"):
        assert abs(found.difference[name].value) < 1e-5 and found.difference[name].error < 1e-5
    assert found.weights.effective == pytest.approx(SESSIONS)
    assert decide(found, SETTINGS.gate).decision == PASS


def test_the_control_variate_narrows_the_difference() -> None:
    found = evaluate(world.sessions(LOG), world.mixed(0.3), SETTINGS)
    plain = found.values["DR"] - found.returns
    assert found.difference["DR"].error < 0.6 * plain.std() / np.sqrt(len(plain))
    assert found.difference["DR"].value == pytest.approx(plain.mean(), abs=4 * plain.std() / np.sqrt(len(plain)))


@pytest.mark.slow
def test_better_passes_worse_is_held_and_what_nobody_showed_is_refused() -> None:
    better = evaluate(world.sessions(LOG), world.mixed(0.3), SETTINGS)
    assert decide(better, SETTINGS.gate).decision == PASS
    worse = evaluate(world.sessions(world.log(0.3, SESSIONS)), world.mixed(0.15), SETTINGS)
    assert decide(worse, SETTINGS.gate).decision == HOLD
    other = replace(world.mixed(1.0), components=[(1.0, _Only(7))])
    refused = decide(evaluate(world.sessions(LOG), other, SETTINGS, fqe=False), SETTINGS.gate)
    assert refused.decision == REFUSE


class _Only:
    """A policy that always shows one item."""

    def __init__(self, item: int) -> None:
        self._item = item

    def probabilities(self, observation: object) -> object:
        import torch

        probs = torch.zeros(len(observation), world.ITEMS)  # type: ignore[arg-type]
        probs[:, self._item] = 1.0
        return probs


def test_two_policies_on_the_same_sessions() -> None:
    sessions = world.sessions(LOG)
    a, b = (evaluate(sessions, world.mixed(alpha), SETTINGS, fqe=False) for alpha in (0.3, 0.2))
    found = compared(a, b, SETTINGS)
    assert found.difference["PDIS"].value == pytest.approx(a.level["PDIS"].value - b.level["PDIS"].value)
    assert found.level == a.level and "DR" not in found.level and found.first == "PDIS"


def test_the_same_seed_gives_the_same_numbers() -> None:
    sessions = world.sessions(LOG).only(np.arange(SESSIONS) < 200)
    one, two = (evaluate(sessions, world.mixed(0.3), SETTINGS) for _ in range(2))
    assert one.level == two.level and one.resampled == two.resampled


def test_one_user_needs_no_critics() -> None:
    sessions = world.sessions(LOG).only(np.arange(SESSIONS) < 20)
    sessions = replace(sessions, user=np.zeros(20, np.int64))
    with pytest.raises(InputError, match=r"(?s)one user.*--no-fqe"):
        evaluate(sessions, world.mixed(0.3), SETTINGS)
    assert evaluate(sessions, world.mixed(0.3), SETTINGS, fqe=False).difference["PDIS"].low == -np.inf


def test_running_sessions_are_left_out() -> None:
    sessions = world.sessions(LOG)
    running = replace(sessions, ended=np.arange(len(sessions)) % 2 == 0)
    assert len(ended_sessions(running)) == SESSIONS / 2
    with pytest.raises(InputError, match="has 0 sessions that ended"):
        ended_sessions(replace(sessions, ended=np.zeros(len(sessions), bool)))


def test_a_saved_mixture_is_the_one_that_acted(tmp_path: Path) -> None:
    folder = world.save_mixture(tmp_path / "policy", 0.2)
    target, alone = saved_target(folder)
    sessions = world.sessions(LOG)
    found = evaluate(sessions, target, SETTINGS, fqe=False)
    assert found.weights.whole == pytest.approx(np.ones_like(found.weights.whole), abs=1e-4)
    assert alone is not None and alone.components[0][1].policy is not None  # type: ignore[attr-defined]
    history = [["item 3", "item 5"]]
    saved = load_policy(folder).probabilities_many(history)
    import torch

    seen = torch.tensor([[0, 12, 12, 3, 5]])
    assert target.components[0][1].probabilities(seen).numpy() == pytest.approx(saved, abs=1e-6)
    by_session, _ = saved_target(folder, alpha=0.3, by="session")
    assert [share for share, _ in by_session.components] == pytest.approx([0.7, 0.3])


def test_alpha_is_for_mixtures(tmp_path: Path) -> None:
    import torch

    from ialp_rllib.agent.policy.saved import save_policy

    save_policy(tmp_path, {"scores": torch.ones(13)}, method="random", acts="scores", network=world.NETWORK)
    with pytest.raises(InputError, match="is no mixture"):
        saved_target(tmp_path, alpha=0.5)
    target, alone = saved_target(tmp_path)
    assert alone is None and target.encoder is None
    target = replace(target, item_ids=world.IDS.items)
    found = evaluate(world.sessions(LOG).only(np.arange(SESSIONS) < 300), target, SETTINGS)
    assert np.isfinite(found.level["DR"].value)
