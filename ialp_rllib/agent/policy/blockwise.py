r"""Policy statistics over a whole catalogue, computed in blocks of items, with closed-form gradients.

Shapes: B states, A items, d hidden units. A plain policy is :math:`\pi = \beta = \mathrm{softmax}(\mathrm{logits})`; a
mixture (Eq. 14) is :math:`\pi = (1 - \alpha)\,\theta + \alpha\,\beta` with constant :math:`\theta`. For a loss F with
:math:`G_i = \partial F / \partial \pi_i`,

.. math:: \partial F / \partial \mathrm{logits}_i = \alpha\,\beta_i\,(G_i - \textstyle\sum_j \beta_j G_j)

(:math:`\alpha = 1` for a plain policy). One pass over the items therefore yields the gradient of all statistics, and
blocks can be recomputed in it: no matrix is wider than a block, whatever the size of the catalogue. If the whole
catalogue is a single block, its probabilities are kept instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

MASKED = -1e9  # logit of an item that may not be recommended; its probability is exactly 0 in float32
MIN_PROB = 1e-12  # lower bound of probabilities before taking the logarithm
# Lower bound of log-probabilities. A peaked policy gives most items far less, and arithmetic on subnormal numbers
# (below 1e-38) takes ten times as long on a CPU; the total probability of all items at this bound is negligible.
_MIN_LOG_PROB = -60.0


class LazyScores(NamedTuple):
    """Scores of all items in factored form, ``hidden @ items.T + bias``, evaluated on demand.

    Attributes:
        hidden: ``(B, d)``.
        items: ``(A, d)``.
        bias: ``(A,)``.
        masked: ``(B, m) int64`` indices of items with score :data:`MASKED`, or None.
    """

    hidden: Tensor
    items: Tensor
    bias: Tensor
    masked: Tensor | None = None

    def block(self, start: int, stop: int) -> Tensor:
        """Scores of the items ``start`` to ``stop``, ``(B, stop - start)``."""
        scores = torch.addmm(self.bias[start:stop], self.hidden, self.items[start:stop].T)
        if self.masked is not None:
            if (start, stop) == (0, len(self.bias)):
                scores.scatter_(1, self.masked, MASKED)
            else:
                rows, columns = ((self.masked >= start) & (self.masked < stop)).nonzero(as_tuple=True)
                scores[rows, self.masked[rows, columns] - start] = MASKED
        return scores

    def block_ranges(self, size: int) -> Iterator[tuple[int, int]]:
        """``(start, stop)`` of consecutive blocks of at most ``size`` items."""
        for start in range(0, len(self.bias), size):
            yield start, min(start + size, len(self.bias))

    def gather(self, action: Tensor) -> Tensor:
        """Scores of one item per state, ``(B,) int64`` -> ``(B,)``; the mask is not applied."""
        return (self.hidden * self.items[action]).sum(1) + self.bias[action]

    def gather_many(self, actions: Tensor) -> Tensor:
        """Scores of k items per state, ``(B, k) int64`` -> ``(B, k)``; the mask is not applied."""
        return torch.bmm(self.items[actions], self.hidden[:, :, None]).squeeze(2) + self.bias[actions]

    def detach(self) -> LazyScores:
        """The same scores without gradient."""
        return self._replace(hidden=self.hidden.detach(), items=self.items.detach(), bias=self.bias.detach())


class FrozenPolicy(NamedTuple):
    """The frozen component of a mixture policy (Eq. 14).

    Attributes:
        logits: of the frozen policy theta.
        alpha: weight of the learning policy beta, in [0, 1], one or ``(B,)``; theta has weight 1 - alpha.
    """

    logits: LazyScores
    alpha: Tensor | float

    @property
    def column(self) -> Tensor | float:
        """``alpha`` as it weighs rows of ``(B, A)``."""
        return self.alpha[:, None] if isinstance(self.alpha, Tensor) and self.alpha.ndim else self.alpha


class PolicyStatistics(NamedTuple):
    r"""Statistics of the acting policy at each transition, as the losses need them.

    Attributes:
        log_prob: :math:`\log \pi(a|s)`, ``(B,)``.
        entropy: :math:`H(\pi(\cdot|s))` in nats, ``(B,)``.
        value: :math:`\mathrm{E}_{a \sim \pi} Q(s, a)`, ``(B,)``, with Q constant; 0 if no Q-values are given.
        divergence: :math:`\mathrm{KL}(\beta \| \beta_0)` of the learning policy from its anchor in nats, ``(B,)``; 0 if
            no anchor is given.
    """

    log_prob: Tensor
    entropy: Tensor
    value: Tensor
    divergence: Tensor


def policy_statistics(
    logits: LazyScores,
    action: Tensor,
    q: LazyScores | None = None,
    frozen: FrozenPolicy | None = None,
    anchor: LazyScores | None = None,
    *,
    size: int,
) -> PolicyStatistics:
    """Statistics of a policy, or of its mixture with a frozen one.

    Gradients flow to ``hidden``, ``items`` and ``bias`` of ``logits``; ``q``, ``frozen`` and ``anchor`` are constant.

    Args:
        logits: of the learning policy.
        action: ``(B,) int64``.
        q: Q-values of all items, for ``value``.
        frozen: the frozen component of a mixture, or None for a plain policy.
        anchor: logits of the policy that the learning one is held to, with the same masked items, or None. The
            ``logits`` of ``frozen`` themselves cost nothing more.
        size: number of items per block.
    """
    constants = (logits.masked, action, q, frozen, anchor, size)
    return PolicyStatistics(*_policy_statistics(logits.hidden, logits.items, logits.bias, constants))


@torch.no_grad()
def mean_score(scores: LazyScores, logits: LazyScores, frozen: FrozenPolicy | None = None, *, size: int) -> Tensor:
    """Expectation of ``scores`` under a policy, or under a mixture, ``(B,)``, without gradient."""
    policy = _BlockPolicy(logits, frozen, size)
    blocks = [row_dot(policy.probs(*ends)[1], scores.block(*ends)) for ends in scores.block_ranges(size)]
    return torch.stack(blocks).sum(0)


@torch.no_grad()
def max_score(scores: LazyScores, *, size: int) -> Tensor:
    """Maximum score over all items, ``(B,)``, without gradient."""
    return torch.stack([scores.block(*ends).amax(1) for ends in scores.block_ranges(size)]).amax(0)


@torch.no_grad()
def compare_policies(
    q: LazyScores, logits: LazyScores, frozen: FrozenPolicy, action: Tensor, *, size: int
) -> tuple[Tensor, Tensor]:
    """``difference`` and ``ratio`` of :func:`ialp_rllib.agent.policy.losses.gain`, ``(B,)`` each, without gradient."""
    difference = mean_score(q, logits, size=size) - mean_score(q, frozen.logits, size=size)
    beta, theta = (_BlockPolicy(scores, None, size).gather(action)[0] for scores in (logits, frozen.logits))
    return difference, (beta - theta) / torch.lerp(theta, beta, frozen.alpha).clamp(min=MIN_PROB)


def row_dot(left: Tensor, right: Tensor) -> Tensor:
    """Dot product of corresponding rows, ``(B, A)``, ``(B, A)`` -> ``(B,)``."""
    result: Tensor = torch.linalg.vecdot(left, right)  # on a CPU ten times as fast as bmm
    return result


class _BlockPolicy:
    """Probabilities of a policy, or of a mixture, by blocks of items."""

    def __init__(self, logits: LazyScores, frozen: FrozenPolicy | None, size: int) -> None:
        self.logits, self.frozen = logits, frozen
        self.log_norm, self.beta = _normalise(logits, size)  # beta, theta, mixed: kept if they are a single block
        self.theta_log_norm: Tensor | None = None
        self.theta: Tensor | None = None
        self.mixed: Tensor | None = None
        if frozen is not None:
            self.theta_log_norm, self.theta = _normalise(frozen.logits, size)

    def probs(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Probabilities of the learning policy and of the acting policy, ``(B, stop - start)`` each."""
        beta = _exp(self.logits.block(start, stop), self.log_norm) if self.beta is None else self.beta
        if self.frozen is None or self.theta_log_norm is None:
            return beta, beta
        if self.theta is None:
            theta = _exp(self.frozen.logits.block(start, stop), self.theta_log_norm)
            return beta, torch.lerp(theta, beta, self.frozen.column)
        if self.mixed is None:
            self.mixed = torch.lerp(self.theta, beta, self.frozen.column)
        return beta, self.mixed

    def gather(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of one item per state under the learning policy and the acting policy, ``(B,)`` each."""
        beta = (self.logits.gather(action) - self.log_norm).exp()
        if self.frozen is None or self.theta_log_norm is None:
            return beta, beta
        theta = (self.frozen.logits.gather(action) - self.theta_log_norm).exp()
        return beta, torch.lerp(theta, beta, self.frozen.alpha)


def _normalise(scores: LazyScores, size: int) -> tuple[Tensor, Tensor | None]:
    """``logsumexp`` over all items, ``(B,)``, and the probabilities if all items are a single block."""
    if len(scores.bias) <= size:
        values = scores.block(0, len(scores.bias))
        maximum = values.amax(1)
        weights = _exp(values, maximum)
        total = weights.sum(1)
        return maximum + total.log(), weights.div_(total[:, None])
    blocks = [_log_sum_exp(scores.block(*ends)) for ends in scores.block_ranges(size)]
    return torch.logsumexp(torch.stack(blocks), 0), None


def _log_sum_exp(values: Tensor) -> Tensor:
    maximum = values.amax(1)
    return maximum + _exp(values, maximum).sum(1).log()


def _exp(values: Tensor, offset: Tensor) -> Tensor:
    """``exp(values - offset)`` by rows, in place."""
    return values.sub_(offset[:, None]).clamp_(min=_MIN_LOG_PROB).exp_()


class _Anchor:
    """Log-ratios of a policy and its anchor, by blocks of items."""

    def __init__(self, logits: LazyScores, policy: _BlockPolicy, size: int) -> None:
        self._logits = logits
        if policy.frozen is not None and policy.theta_log_norm is not None and policy.frozen.logits is logits:
            self._log_norm, probs = policy.theta_log_norm, policy.theta
        else:
            self._log_norm, probs = _normalise(logits, size)
        self._log_probs = None if probs is None else probs.log()

    def log_ratio(self, beta: Tensor, start: int, stop: int) -> Tensor:
        """``log beta - log anchor``, ``(B, stop - start)``; 0 for items that are masked in both."""
        if self._log_probs is not None:
            return beta.log().sub_(self._log_probs)
        values = self._logits.block(start, stop).sub_(self._log_norm[:, None]).clamp_(min=_MIN_LOG_PROB)
        return beta.log().sub_(values)


class _PolicyStatistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, bias: Tensor, constants: Any) -> tuple[Tensor, ...]:
        masked, action, q, frozen, anchor, size = constants
        logits = LazyScores(hidden, items, bias, masked)
        policy = _BlockPolicy(logits, frozen, size)
        entropy, value, mean_log, mean_q, divergence = hidden.new_zeros(5, len(hidden))
        held = None if anchor is None else _Anchor(anchor, policy, size)
        kept = None
        for ends in logits.block_ranges(size):
            beta, probs = policy.probs(*ends)
            log = probs.clamp(min=MIN_PROB).log_()
            entropy -= row_dot(probs, log)
            mean_log += row_dot(beta, log)
            scores = None if q is None else q.block(*ends)
            if scores is not None:
                value += row_dot(probs, scores)
                mean_q += row_dot(beta, scores)
            if held is not None:
                divergence += row_dot(beta, held.log_ratio(beta, *ends))
            if policy.beta is not None:
                kept = log, scores
        beta_a, probs_a = policy.gather(action)
        probs_a = probs_a.clamp(min=MIN_PROB)
        ctx.constants, ctx.policy, ctx.kept = constants, policy, kept
        ctx.means, ctx.held = (mean_log, mean_q, beta_a / probs_a, divergence.clone()), held
        ctx.set_materialize_grads(False)
        return probs_a.log(), entropy, value, divergence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (_, action, q, frozen, _, size), policy, held = ctx.constants, ctx.policy, ctx.held
        hidden, items, bias, _ = logits = policy.logits
        mean_log, mean_q, ratio, divergence = ctx.means
        zero = torch.zeros_like(mean_log)
        by_log, by_entropy, by_value, by_divergence = (zero if g is None else g for g in gradients)
        # dH / dprobs = -log(probs) - 1; terms that are equal for all items cancel out.
        centre = by_value * mean_q - by_entropy * mean_log + by_log * ratio
        at_action = by_log * ratio
        grad_hidden, grad_bias = torch.zeros_like(hidden), torch.empty_like(bias)
        grad_items = torch.empty_like(items) if ctx.needs_input_grad[1] else None
        for start, stop in logits.block_ranges(size):
            beta, probs = policy.probs(start, stop)
            log, scores = ctx.kept or (probs.clamp(min=MIN_PROB).log_(), None)
            gradient = torch.addcmul(-centre[:, None], log, by_entropy[:, None], value=-1)
            if q is not None and gradients[2] is not None:
                gradient.addcmul_(q.block(start, stop) if scores is None else scores, by_value[:, None])
            gradient.mul_(beta)
            rows = ((action >= start) & (action < stop)).nonzero()[:, 0]
            gradient[rows, action[rows] - start] += at_action[rows]
            if frozen is not None:
                gradient.mul_(frozen.column)
            if held is not None and gradients[3] is not None:  # of the learning policy, so without alpha
                ratios = held.log_ratio(beta, start, stop).sub_(divergence[:, None])
                gradient.addcmul_(ratios.mul_(beta), by_divergence[:, None])
            grad_hidden.addmm_(gradient, items[start:stop])
            torch.sum(gradient, 0, out=grad_bias[start:stop])
            if grad_items is not None:
                torch.mm(gradient.T, hidden, out=grad_items[start:stop])
        return grad_hidden, grad_items, grad_bias, None


_policy_statistics: Callable[..., tuple[Tensor, ...]] = _PolicyStatistics.apply
