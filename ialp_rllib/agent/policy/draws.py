r"""Mixtures drawn once per session (``adapt.alpha.by: session``): which part acts, and how probable its acts are.

A step-wise mixture of two good policies can be worse than both, since sessions that change taste are left. Here one of
them is drawn with the session and kept; the return is then linear in alpha, and the two parts are an A/B test.

An observer who does not see the draw sees a mixture whose weight depends on the session so far. With the log-odds
:math:`\Lambda_t = \sum_{i < t} \log \beta(a_i|s_i) - \log \theta(a_i|s_i)` the weight of beta is

.. math:: \alpha_t = \sigma(\mathrm{logit}(\alpha) + \Lambda_t),
    \qquad p(a|s_{1:t}) = (1 - \alpha_t)\,\theta(a|s_t) + \alpha_t\,\beta(a|s_t)

and the product of these probabilities over a session is
:math:`(1 - \alpha) \prod_t \theta(a_t|s_t) + \alpha \prod_t \beta(a_t|s_t)`: it is the exact behaviour probability, and
the policy that losses differentiate. A transition keeps its log-odds, so that a later alpha applies to it as well.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

ODDS, NEXT_ODDS = "odds", "next_odds"
"""Columns of transitions: the log-odds before and after the action, ``(N,) float32``."""
_MIN_PROB = 1e-12  # as in the losses
_MOST = 60.0  # log-odds, either way: beyond them the weight is 0 or 1 in float32


def share(alpha: Tensor | float, odds: Tensor) -> Tensor:
    """Weight of beta given what a session has shown.

    Args:
        alpha: the weight at the start of a session, in [0, 1]; broadcast to ``odds``.
        odds: ``(B,)`` log-odds of beta against theta.

    Returns:
        ``(B,)`` in [0, 1]; exactly 0 or 1 where alpha is.
    """
    return torch.sigmoid(torch.logit(torch.as_tensor(alpha, dtype=odds.dtype, device=odds.device)) + odds)


def weight(alpha: float, odds: float) -> float:
    """:func:`share` of one session, in float64; ``odds``: at most 60, either way.

    Python's numbers, and not :func:`share` on a tensor of one: a service asks for each step of each session by itself,
    where making the tensor would take longer than all the rest.
    """
    return alpha if alpha in (0.0, 1.0) else 1 / (1 + math.exp(-(math.log(alpha) - math.log1p(-alpha) + odds)))


def odds_after(odds: float, theta: float, beta: float) -> float:
    """Log-odds of one session after an item that the two policies show with these probabilities, in [-60, 60].

    As :meth:`SessionDraws.observe` has them of N sessions in float32, see :func:`weight`.
    """
    ratio = math.log(max(beta, _MIN_PROB)) - math.log(max(theta, _MIN_PROB))
    return min(max(odds + ratio, -_MOST), _MOST)


class SessionDraws:
    """The draws of N sessions, one per environment slot.

    Attributes:
        beta: ``(N,) bool``, whether beta was drawn; else theta.
        alpha: ``(N,) float32``, the weight of beta when the session began.
        odds: ``(N,) float32``, log-odds of the session so far.

    Args:
        n: number of sessions, N.
        alpha: weight of beta.
    """

    def __init__(self, n: int, alpha: float) -> None:
        self.beta = torch.zeros(n, dtype=torch.bool)
        self.alpha, self.odds = torch.zeros(n), torch.zeros(n)
        self.start(torch.ones(n, dtype=torch.bool), alpha)

    def start(self, slots: Tensor, alpha: float) -> None:
        """Draw for new sessions in ``slots``, ``(N,) bool``."""
        self.beta[slots] = torch.rand(int(slots.sum())) < alpha
        self.alpha[slots], self.odds[slots] = alpha, 0.0

    def observe(self, theta: Tensor, beta: Tensor, action: Tensor) -> Tensor:
        """Take note of what was shown, and return how probable it was, the draw not known.

        Args:
            theta, beta: ``(N, A)`` probabilities of the two policies in the states that the items were shown in.
            action: ``(N,) int64``.

        Returns:
            ``(N,)``, exact behaviour probabilities.
        """
        of_theta, of_beta = (probs.gather(1, action[:, None])[:, 0] for probs in (theta, beta))
        probability = torch.lerp(of_theta, of_beta, share(self.alpha, self.odds))
        ratio = of_beta.clamp(min=_MIN_PROB).log() - of_theta.clamp(min=_MIN_PROB).log()
        self.odds = (self.odds + ratio).clamp(-_MOST, _MOST)
        return probability

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {name: getattr(self, name).numpy().copy() for name in ("beta", "alpha", "odds")}

    @staticmethod
    def restored(state: dict[str, Any] | None) -> SessionDraws | None:
        """The draws of a state that :meth:`get_state` returned; None: there are none."""
        if state is None:
            return None
        draws = SessionDraws(0, 0.0)
        for name, values in state.items():
            setattr(draws, name, torch.from_numpy(values.copy()))
        return draws
