"""Evaluation of a policy on logged sessions: estimates of its return, their intervals, and how far the log supports it.

Only sessions that have ended count. What is estimated is the return of the policy, and its *difference* to the logging
policy (or to another policy) on the same sessions, which varies less: good and bad sessions are so for both, and luck
with the draws of the items is taken off by a control variate (:func:`.estimators.control`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ialp_rllib.errors import InputError
from ialp_rllib.ope import estimators
from ialp_rllib.ope.bounds import Estimate, betting_lower, bootstrap, student
from ialp_rllib.ope.estimators import Floats, Weights
from ialp_rllib.ope.fqe import Decisions, fit_values, folds, item_features, mean_rewards, states
from ialp_rllib.ope.sessions import Sessions, observations
from ialp_rllib.ope.targets import Target, probabilities_and_means
from ialp_rllib.settings import OPESettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What logged sessions tell about a policy. Of S ended sessions, T decisions in the longest one.

    Attributes:
        name: of the policy.
        values: ``(S,)`` per session by each of :data:`.estimators.ESTIMATORS`; without DR, WDR and FQE if no critic was
            fitted.
        returns: ``(S,)``, logged.
        user: ``(S,)``, number of the session's user.
        level: estimates of its return, t intervals.
        difference: of its return less that of the logging policy, or of another policy; not by FQE.
        resampled: the same by a bootstrap.
        lowest: lower bound of its return by a betting martingale, for PDIS; one-sided, at the level of the intervals.
        weights: of the logged decisions.
        effective: ``(T,)``, effective sample size after each decision.
        unsupported: share of the policy's probability on decisions that the log does not show.
        apart: DR less FQE, over the sessions; None without a critic.
        unknown: logged decisions whose item the policy does not know.
    """

    name: str
    values: Mapping[str, Floats]
    returns: Floats
    user: np.ndarray
    level: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]
    resampled: Mapping[str, Estimate]
    lowest: float
    weights: Weights
    effective: Floats
    unsupported: float
    apart: Estimate | None
    unknown: int

    @property
    def first(self) -> str:
        """The estimator that decides: DR, without a critic PDIS."""
        return "DR" if "DR" in self.values else "PDIS"

    @property
    def check(self) -> str:
        """The estimator that it is checked with, which needs no critic."""
        return "PDIS" if "DR" in self.values else "SNPDIS"


def ended_sessions(sessions: Sessions) -> Sessions:
    """The sessions that have ended.

    Raises:
        InputError: there are fewer than two.
    """
    count = int(sessions.ended.sum())
    if count < 2:
        raise InputError("the log", f"has {count} sessions that ended", "at least 2 to estimate from")
    return sessions.only(sessions.ended)


@dataclass(frozen=True)
class PerSession:
    """What is estimated of each of S sessions.

    Attributes:
        values: ``(S,)`` by each of :data:`.estimators.ESTIMATORS`.
        weights: of the decisions.
        luck: ``(S,)``, the control variate of the logged returns.
        ratios: ``(S,)``, sum over its decisions of target over logged probability.
        unknown: ``(S,)``, decisions on items that the policy does not know.
    """

    values: Mapping[str, Floats]
    weights: Weights
    luck: Floats
    ratios: Floats
    unknown: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> PerSession:
        """The same of some sessions, ``(S,) bool``."""
        weights = Weights(*(getattr(self.weights, name)[kept] for name in ("rho", "whole", "there")))
        values = {name: x[kept] for name, x in self.values.items()}
        return PerSession(values, weights, self.luck[kept], self.ratios[kept], self.unknown[kept])


def evaluate(sessions: Sessions, target: Target, settings: OPESettings, fqe: bool = True) -> Evaluation:
    """Evaluate a policy on ended sessions; with the same seed always the same.

    Args:
        sessions: see :func:`ended_sessions`.
        target: the policy.
        settings: clip, folds and others.
        fqe: whether to fit critics, for DR; without them it takes one pass of the policy.

    Raises:
        InputError: critics are asked for and all sessions are those of one user; see :func:`.sessions.observations`.
    """
    return summarised(target.name, sessions, estimate(sessions, target, settings, fqe), settings)


def estimate(sessions: Sessions, target: Target, settings: OPESettings, fqe: bool = True) -> PerSession:
    """The estimates of each session, of which :func:`summarised` makes an evaluation. Arguments: :func:`evaluate`."""
    if fqe and not (sessions.user != sessions.user[0]).any():
        expected = "at least two, since critics learn from other users' sessions; --no-fqe estimates without critics"
        raise InputError("the log", "has the sessions of one user", expected)
    observation, action = observations(sessions, target.network, target.item_ids, target.user_ids)
    fold = folds(sessions.user, settings.fqe.folds, settings.seed)
    features, state = torch.zeros(target.network.n_items, 0), torch.zeros(len(action), 0)
    if fqe:
        state = states(sessions, observation, target, settings.seed)
        rewards = mean_rewards(sessions, action, target.network.n_items, fold)
        features = torch.cat([item_features(target, settings.seed), rewards], 1)
    served = torch.cat([features, features.new_zeros(1, features.shape[1])])[action]
    there, reward = sessions.there, sessions.padded(sessions.reward)
    logged = sessions.padded(sessions.probability, 1.0)
    parts: list[tuple[float, Weights]] = []
    modelled = {name: np.zeros(len(sessions)) for name in ("DR", "WDR", "FQE")}
    luck, ratios = np.zeros(len(sessions)), np.zeros(len(sessions))
    for share, component in target.components:
        probability, means = probabilities_and_means(component, observation, action, features)
        ratio = probability.numpy() / sessions.probability
        ratios += share * sessions.padded(ratio).sum(1)
        w = estimators.weights(sessions.padded(probability.numpy(), 1.0), logged, there, settings.clip)
        parts.append((share, w))
        if fqe:
            decisions = Decisions(state, served, means, ratio)
            rows = fit_values(sessions, decisions, target.network.dim, fold, settings.fqe, settings.seed)
            q, v = (sessions.padded(values) for values in rows)
            modelled["DR"] += share * estimators.dr(w, reward, q, v)
            modelled["WDR"] += share * estimators.wdr(w, reward, q, v)
            modelled["FQE"] += share * v[:, 0]
            luck += share * estimators.control(sessions.padded(ratio), q, v, settings.clip)
    weights = estimators.combined(parts)
    values = modelled if fqe else {}
    values = values | {"PDIS": estimators.pdis(weights, reward), "SNPDIS": estimators.snpdis(weights, reward)}
    values = {name: values[name] for name in estimators.ESTIMATORS if name in values}
    unknown = sessions.padded((action.numpy() == target.network.n_items).astype(np.float64)).sum(1).astype(np.int64)
    return PerSession(values, weights, luck, ratios, unknown)


def summarised(name: str, sessions: Sessions, found: PerSession, settings: OPESettings) -> Evaluation:
    """Means of the sessions' estimates with their intervals, and what the log supports."""
    returns, user, level, values, weights = sessions.returns, sessions.user, settings.level, found.values, found.weights
    pairs = {name: x - returns for name, x in values.items() if name != "FQE"}
    pairs |= {name: estimators.without_luck(pairs[name], found.luck) for name in ("DR", "WDR") if name in pairs}
    difference, resampled = _intervals(pairs, user, settings)
    bound = settings.clip * weights.there.shape[1]
    low, high = (bound * extreme for extreme in (min(sessions.reward.min(), 0.0), max(sessions.reward.max(), 0.0)))
    return Evaluation(
        name=name,
        values=values,
        returns=returns,
        user=user,
        level={name: student(x, user, level) for name, x in values.items()},
        difference=difference,
        resampled=resampled,
        lowest=betting_lower(values["PDIS"], low, high, level),
        weights=weights,
        effective=estimators.effective(weights.whole),
        unsupported=max(0.0, 1 - float(found.ratios.sum() / weights.there.sum())),
        apart=student(values["DR"] - values["FQE"], user, level) if "DR" in values else None,
        unknown=int(found.unknown.sum()),
    )


def _intervals(
    values: Mapping[str, Floats], user: np.ndarray, settings: OPESettings
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Means with t and with bootstrap intervals."""
    return {name: student(x, user, settings.level) for name, x in values.items()}, {
        name: bootstrap(x, user, settings.level, settings.resamples, settings.seed) for name, x in values.items()
    }


def compared(evaluation: Evaluation, other: Evaluation, settings: OPESettings) -> Evaluation:
    """``evaluation`` with the differences to ``other``, another policy on the same sessions."""
    pairs = {name: x - other.values[name] for name, x in evaluation.values.items() if name != "FQE"}
    difference, resampled = _intervals(pairs, evaluation.user, settings)
    return replace(evaluation, difference=difference, resampled=resampled)
