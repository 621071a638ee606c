r"""Off-policy estimates of the return of a policy, one number per logged session.

With the ratios :math:`w_t = \pi(a_t|s_t) / p_t` of target and logged probability, the weight of decision t is
:math:`\rho_t = \prod_{i \le t} w_i`, summed in log space. Returns are undiscounted.

==========  =======================================================================================================
PDIS        per-decision importance sampling, :math:`\sum_t \rho_t r_t` (Precup et al. 2000)
SNPDIS      the same with weights over their mean at each t, ended sessions with their last weight: biased by
            O(1 / S), of bounded variance
DR          doubly robust, :math:`\sum_t \rho_{t-1} V(s_t) + \rho_t (r_t - Q(s_t, a_t))` (Jiang & Li 2016)
WDR         DR with weights over their mean at each t (Thomas & Brunskill 2016)
FQE         the direct method, :math:`V(s_0)` of a fitted critic
==========  =======================================================================================================

A target that draws one of several components per session has the weights and values of each of them: its return is
linear in theirs. Weights above ``clip`` are cut, which biases low where rewards are positive; how much of them is
reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ESTIMATORS = ("DR", "WDR", "PDIS", "SNPDIS", "FQE")


@dataclass(frozen=True)
class Weights:
    """Weights of logged decisions under a target or one of its components.

    Attributes:
        rho: ``(S, T)``, clipped; after the end of a session its last weight.
        whole: ``(S, T)``, the same before clipping.
        there: ``(S, T) bool``.
    """

    rho: Floats
    whole: Floats
    there: NDArray[np.bool_]

    @property
    def clipped(self) -> float:
        """Share of the weights of all decisions that clipping cut off."""
        whole, rho = (_scaled(part * self.there, self.whole.max(initial=0.0)) for part in (self.whole, self.rho))
        total = whole.sum()
        return float((whole - rho).sum() / total) if total > 0 else 0.0

    @property
    def effective(self) -> float:
        """Effective sample size of the sessions, by their last weights before clipping (Kish)."""
        return float(effective(self.whole[:, -1:])[0])

    @property
    def largest(self) -> float:
        """Share of all last weights, before clipping, that one session has."""
        last = _scaled(self.whole[:, -1], self.whole[:, -1].max(initial=0.0))
        return float(last.max() / last.sum()) if last.any() else 1.0


def _scaled(values: Floats, largest: Floats | float) -> Floats:
    """Values over the largest one: sums and squares of large weights overflow."""
    return np.divide(values, largest, out=np.zeros_like(values), where=np.greater(largest, 0))


def effective(whole: Floats) -> Floats:
    """Kish's effective sample size of each column of weights, ``(S, T)`` -> ``(T,)``; 0 where all are 0."""
    scaled = _scaled(whole, whole.max(0, initial=0.0))
    sums, squares = scaled.sum(0), (scaled**2).sum(0)
    return np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0)


def weights(target: Floats, logged: Floats, there: NDArray[np.bool_], clip: float) -> Weights:
    """Weights of decisions by their probabilities.

    Args:
        target: ``(S, T)`` probability of each served item under the target, from 0.
        logged: ``(S, T)`` logged probability, above 0 where there is a decision.
        there: ``(S, T) bool``.
        clip: highest weight.
    """
    with np.errstate(divide="ignore"):
        ratio = np.where(there, np.log(target) - np.log(np.where(there, logged, 1.0)), 0.0)
    total = np.cumsum(ratio, 1)
    whole = np.exp(np.minimum(total, 700.0))
    return Weights(np.exp(np.minimum(total, np.log(clip))), whole, there)


def combined(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Weights of a target that draws one of its components per session, by their probabilities."""
    rho, whole = (sum(share * getattr(part, name) for share, part in parts) for name in ("rho", "whole"))
    return Weights(rho, whole, parts[0][1].there)


def pdis(w: Weights, reward: Floats) -> Floats:
    """Per-decision importance sampling, ``(S,)``.

    Args:
        reward: ``(S, T)``, 0 after the end of a session.
    """
    total: Floats = (w.rho * reward).sum(1)
    return total


def dr(w: Weights, reward: Floats, q: Floats, v: Floats) -> Floats:
    """Doubly robust, ``(S,)``.

    Args:
        reward: ``(S, T)``.
        q: ``(S, T)``, :math:`Q(s_t, a_t)` of the served items.
        v: ``(S, T)``, :math:`V(s_t)` of the target.
    """
    values: Floats = (w.there * (_before(w.rho) * v + w.rho * (reward - q))).sum(1)
    return values


def snpdis(w: Weights, reward: Floats) -> Floats:
    """Self-normalised PDIS as pseudo-values, ``(S,)``: see :func:`normalised`."""
    return normalised(w.rho, reward)


def wdr(w: Weights, reward: Floats, q: Floats, v: Floats) -> Floats:
    """Weighted DR as pseudo-values, ``(S,)``: see :func:`normalised`."""
    return normalised(_before(w.rho), w.there * v) + normalised(w.rho, w.there * (reward - q))


def normalised(rho: Floats, values: Floats) -> Floats:
    r"""Pseudo-values of :math:`\sum_t \sum_s \rho_{st} x_{st} / \sum_s \rho_{st}`, ``(S,)``.

    Their mean is the estimate, and their spread that of its linearisation (the delta method for a ratio), so that
    intervals of means apply.

    Args:
        rho: ``(S, T)`` weights.
        values: ``(S, T)``, x, 0 after the end of a session.
    """
    mean = rho.mean(0)
    share = np.divide(rho, mean, out=np.zeros_like(rho), where=mean > 0)
    level = (share * values).mean(0)
    pseudo: Floats = (level + share * (values - level)).sum(1)
    return pseudo


def control(ratio: Floats, q: Floats, v: Floats, clip: float) -> Floats:
    r"""Control variate of the logged returns, :math:`\sum_t w_t (Q(s_t, a_t) - V(s_t))`, ``(S,)``.

    Its mean is 0 under the logging policy, whatever the critic: :math:`\mathrm{E}[w_t Q(s_t, a_t) | s_t] = V(s_t)`.
    With a policy near to the logging one it tells which of the logged returns are luck with the draws of the items.

    Args:
        ratio: ``(S, T)``, :math:`w_t`, 0 after the end of a session.
        q, v: ``(S, T)``.
        clip: highest ratio.
    """
    luck: Floats = (np.minimum(ratio, clip) * (q - v)).sum(1)
    return luck


def without_luck(values: Floats, luck: Floats) -> Floats:
    """``values`` less the multiple of a control variate of mean 0 that leaves the least variance, ``(S,)``."""
    spread = float(((luck - luck.mean()) ** 2).sum())
    if not spread > 0:
        return values
    return values - float(((values - values.mean()) * (luck - luck.mean())).sum()) / spread * luck


def _before(rho: Floats) -> Floats:
    """The weight of the state that a decision is made in: that of the decision before it, at first 1."""
    return np.concatenate([np.ones((len(rho), 1)), rho[:, :-1]], 1)
