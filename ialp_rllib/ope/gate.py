"""The gate: whether a policy may go out, by what logged sessions tell about it. Pass, hold or refuse, with reasons.

*Refuse*: the log cannot tell. *Hold*: it can, and what it tells is not good enough, or not certain enough. *Pass*: with
the confidence of the interval, no more than ``margin`` of the return is lost. Nothing is proven without an own log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ialp_rllib.ope.bounds import Estimate
from ialp_rllib.ope.evaluate import Evaluation, compared, evaluate
from ialp_rllib.ope.sessions import Sessions
from ialp_rllib.ope.targets import Target
from ialp_rllib.settings import GateSettings, OPESettings

PASS, HOLD, REFUSE = "pass", "hold", "refuse"
EXIT_CODES = {PASS: 0, HOLD: 3, REFUSE: 4}
"""Exit status of ``ialp evaluate``."""


@dataclass(frozen=True)
class Verdict:
    """A decision and its reasons, as sentences.

    Attributes:
        decision: :data:`PASS`, :data:`HOLD` or :data:`REFUSE`.
        reasons: why; of a pass what was checked.
    """

    decision: str
    reasons: tuple[str, ...]


class Judged(NamedTuple):
    """A policy with what was found about it.

    Attributes:
        evaluation: of the policy, with its differences to the policy that it would replace.
        verdict: of the gate.
        base: return of the policy that it would replace.
        alone: of a mixture, evaluation of its learning part alone.
    """

    evaluation: Evaluation
    verdict: Verdict
    base: float
    alone: Evaluation | None


def judge_policy(
    sessions: Sessions,
    target: Target,
    settings: OPESettings,
    *,
    part: Target | None = None,
    other: Target | None = None,
    fqe: bool = True,
) -> Judged:
    """Evaluate a policy on ended sessions, and decide about it.

    Args:
        sessions: see :func:`.evaluate.ended_sessions`.
        target: the policy.
        part: of a mixture, its learning part alone.
        other: the policy that it would replace; None: the logging one.
        fqe: whether to fit critics.

    Raises:
        InputError: see :func:`.evaluate.evaluate`.
    """
    found = evaluate(sessions, target, settings, fqe)
    alone = evaluate(sessions, part, settings, fqe) if part is not None else None
    base, reference = float(sessions.returns.mean()), None
    if other is not None:
        reference = evaluate(sessions, other, settings, fqe)
        base, found = reference.level[reference.first].value, compared(found, reference, settings)
        alone = compared(alone, reference, settings) if alone is not None else None
    return Judged(found, decide(found, settings.gate, base, alone, reference), base, alone)


def decide(
    evaluation: Evaluation,
    settings: GateSettings,
    base: float | None = None,
    alone: Evaluation | None = None,
    reference: Evaluation | None = None,
) -> Verdict:
    """Decide about a policy.

    Args:
        evaluation: of the policy; its differences are to the policy that it would replace.
        settings: thresholds.
        base: return of that policy, which the margin is a share of; None: the logged one.
        alone: of a mixture, evaluation of its learning part alone, to which the hand-over leads.
        reference: evaluation of the policy that it would replace; None: the logging one, whose returns are known.
    """
    base = float(evaluation.returns.mean()) if base is None else base
    refusals = [*_few(evaluation, settings), *_refusals(evaluation, settings)]
    if reference is not None:
        refusals += [f"of the policy that it would replace, {text}" for text in _refusals(reference, settings)]
    if refusals:
        return Verdict(REFUSE, tuple(refusals))
    found = evaluation.difference[evaluation.first]
    margin = settings.margin * abs(base)
    holds = [*_holds(evaluation, found, margin, base)]
    if alone is not None and not [*_few(alone, settings), *_refusals(alone, settings)]:
        end = alone.difference[alone.first]
        if end.high < -margin:
            holds.append(
                "its learning part alone, to which the hand-over leads, is worse than the policy that it would "
                f"replace: {_relative(end, base)}"
            )
    if holds:
        return Verdict(HOLD, tuple(holds))
    reason = (
        f"the difference to the policy that it would replace is {_relative(found, base)}: with this confidence it "
        f"loses less than {settings.margin:.1%}"
    )
    return Verdict(PASS, (reason,))


def _few(evaluation: Evaluation, settings: GateSettings) -> Iterator[str]:
    """Whether the log is too short, whatever the policy."""
    sessions = len(evaluation.returns)
    if sessions < settings.min_sessions:
        yield f"{sessions:,} sessions ended, fewer than {settings.min_sessions:,}"


def _refusals(evaluation: Evaluation, settings: GateSettings) -> Iterator[str]:
    """Why the log cannot tell about a policy."""
    sessions, effective = len(evaluation.returns), evaluation.weights.effective
    least = max(settings.min_ess, settings.min_ess_share * sessions)
    if effective < least:
        yield f"the effective sample size is {effective:,.0f} of {sessions:,} sessions, less than {least:,.0f}"
    if evaluation.weights.largest > settings.max_weight:
        yield (
            f"one session has {evaluation.weights.largest:.1%} of all weights, more than {settings.max_weight:.1%}: "
            "the estimate is that session's"
        )
    if evaluation.unsupported > settings.max_unsupported:
        yield (
            f"{evaluation.unsupported:.1%} of the policy's probability is on decisions that the log does not show, "
            f"more than {settings.max_unsupported:.1%}"
        )
    apart, level = evaluation.apart, evaluation.level[evaluation.first].value
    if apart is not None and _is_apart(apart, settings, level):
        yield (
            f"fitted Q evaluation gives {level - apart.value:.4g} and DR {level:.4g}, "
            f"{abs(apart.value) / apart.error:.1f} standard errors apart: one of them is wrong"
        )


def _is_apart(apart: Estimate, settings: GateSettings, level: float) -> bool:
    """Whether two estimates contradict each other.

    With many sessions the small bias of any network is many standard errors: less than the margin is no contradiction.
    """
    return abs(apart.value) > max(settings.max_apart * apart.error, settings.margin * abs(level))


def _holds(evaluation: Evaluation, found: Estimate, margin: float, base: float) -> Iterator[str]:
    """Why what the log tells is not good enough."""
    if not found.low > -margin:
        kind = "is worse than" if found.high < -margin else "may lose more than the margin to"
        yield f"it {kind} the policy that it would replace: {_relative(found, base)}, margin {-margin:.4g}"
    check = evaluation.difference[evaluation.check]
    if check.high < found.low and found.value - check.value > margin:
        yield (
            f"{evaluation.check} contradicts {evaluation.first}: {_relative(check, base)} "
            f"against {_relative(found, base)}"
        )


def _relative(estimate: Estimate, base: float) -> str:
    """A difference and its interval, also as a share of the return."""
    text = f"{estimate.value:+.4g} [{estimate.low:+.4g}, {estimate.high:+.4g}]"
    return f"{text} ({estimate.value / base:+.1%})" if np.isfinite(base) and base > 0 else text
