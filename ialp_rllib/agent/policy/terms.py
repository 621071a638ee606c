r"""What the losses need of a policy over all items, one block of items at a time, with its gradient in closed form.

Shapes: B states, A items. A plain policy is :math:`\pi = \mathrm{softmax}(\mathrm{logits})`; a mixture (Eq. 14) is
:math:`\tilde\pi = (1 - \alpha)\,\theta + \alpha\,\mathrm{softmax}(\mathrm{logits})`, with theta constant. With
:math:`F` the loss, :math:`\beta = \mathrm{softmax}(\mathrm{logits})` and
:math:`G_i = \partial F / \partial \tilde\pi_i`,

.. math:: \partial F / \partial \mathrm{logits}_i = \alpha\,\beta_i\,(G_i - \textstyle\sum_j \beta_j G_j)

so that one pass over the items gives the gradient of all terms together, and a block can be computed again for it: no
matrix is wider than a block, whatever the size of the catalogue. A catalogue of one block is kept, not computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

MASKED = -1e9  # logit of an item that may not be recommended; its probability is exactly 0 in float32
TINY = 1e-12  # least probability whose logarithm is taken
# Least logarithm of a probability here. A sharp policy gives most items far less, and on a CPU numbers too small to be
# normal (under 1e-38) take ten times as long; all items together weigh nothing at this.
_LEAST = -60.0


class Scores(NamedTuple):
    """Scores of all items that are not computed yet: ``hidden @ items.T + bias``.

    Attributes:
        hidden: ``(B, d)``.
        items: ``(A, d)``.
        bias: ``(A,)``.
        masked: ``(B, m)`` columns that are :data:`MASKED`, or None.
    """

    hidden: Tensor
    items: Tensor
    bias: Tensor
    masked: Tensor | None = None

    def block(self, start: int, stop: int) -> Tensor:
        """Columns ``start`` to ``stop``, ``(B, stop - start)``."""
        scores = torch.addmm(self.bias[start:stop], self.hidden, self.items[start:stop].T)
        if self.masked is not None:
            if (start, stop) == (0, len(self.bias)):
                scores.scatter_(1, self.masked, MASKED)
            else:
                rows, places = ((self.masked >= start) & (self.masked < stop)).nonzero(as_tuple=True)
                scores[rows, self.masked[rows, places] - start] = MASKED
        return scores

    def blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """Ends of the blocks of ``size`` columns."""
        for start in range(0, len(self.bias), size):
            yield start, min(start + size, len(self.bias))

    def of(self, action: Tensor) -> Tensor:
        """Of one item per state, ``(B,)``, masked or not."""
        return (self.hidden * self.items[action]).sum(1) + self.bias[action]

    def constant(self) -> Scores:
        """Without gradient."""
        return self._replace(hidden=self.hidden.detach(), items=self.items.detach(), bias=self.bias.detach())


class Frozen(NamedTuple):
    """What a learning policy is mixed with.

    Attributes:
        logits: of the frozen policy, theta.
        alpha: weight of the learning one.
    """

    logits: Scores
    alpha: Tensor | float


class Terms(NamedTuple):
    r"""One number per state.

    Attributes:
        log_prob: :math:`\log \pi(a|s)`, ``(B,)``.
        entropy: :math:`H(\pi(\cdot|s))` in nats, ``(B,)``.
        value: :math:`\mathrm{E}_\pi Q(s, \cdot)`, ``(B,)``; the gradient reaches the policy alone; 0 without Q-values.
    """

    log_prob: Tensor
    entropy: Tensor
    value: Tensor


def policy_terms(
    logits: Scores, action: Tensor, q: Scores | None = None, frozen: Frozen | None = None, *, size: int
) -> Terms:
    """The terms of a policy, or of a mixture.

    The gradient reaches ``hidden``, ``items`` and ``bias`` of ``logits``; ``q`` and ``frozen`` are constant.

    Args:
        action: ``(B,) int64``.
        size: items of a block.
    """
    return Terms(
        *_PolicyTerms.apply(logits.hidden, logits.items, logits.bias, (logits.masked, action, q, frozen, size))
    )


@torch.no_grad()
def mean(values: Scores, logits: Scores, frozen: Frozen | None = None, *, size: int) -> Tensor:
    """The policy's (or the mixture's) mean of ``values``, ``(B,)``, without gradient."""
    policy = _Policy(logits, frozen, size)
    return torch.stack([dot(policy.probs(*ends)[1], values.block(*ends)) for ends in values.blocks(size)]).sum(0)


@torch.no_grad()
def highest(scores: Scores, *, size: int) -> Tensor:
    """The highest score, ``(B,)``, without gradient."""
    return torch.stack([scores.block(*ends).amax(1) for ends in scores.blocks(size)]).amax(0)


@torch.no_grad()
def compare(q: Scores, logits: Scores, frozen: Frozen, action: Tensor, *, size: int) -> tuple[Tensor, Tensor]:
    """``difference`` and ``ratio`` of :func:`ialp_rllib.agent.policy.losses.gain`, ``(B,)`` each, without gradient."""
    difference = mean(q, logits, size=size) - mean(q, frozen.logits, size=size)
    beta, theta = (_Policy(scores, None, size).at(action)[0] for scores in (logits, frozen.logits))
    return difference, (beta - theta) / torch.lerp(theta, beta, frozen.alpha).clamp(min=TINY)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Sums of products along the rows, ``(B, A)`` twice -> ``(B,)``."""
    return torch.linalg.vecdot(left, right)  # on a CPU ten times as fast as the same by bmm


class _Policy:
    """Probabilities of a policy, or a mixture, by blocks."""

    def __init__(self, logits: Scores, frozen: Frozen | None, size: int) -> None:
        self.logits, self.frozen = logits, frozen
        self.normaliser, self.kept = _normalise(logits, size)
        self.of_theta: Tensor | None = None
        self.theta: Tensor | None = None
        self.mixed: Tensor | None = None
        if frozen is not None:
            self.of_theta, self.theta = _normalise(frozen.logits, size)

    def probs(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Those of the learning policy, and those of the acting one."""
        if self.kept is None:
            beta = _exp(self.logits.block(start, stop), self.normaliser)
        else:
            beta = self.kept
        if self.frozen is None or self.of_theta is None:
            return beta, beta
        if self.theta is None:
            theta = _exp(self.frozen.logits.block(start, stop), self.of_theta)
            return beta, torch.lerp(theta, beta, self.frozen.alpha)
        if self.mixed is None:
            self.mixed = torch.lerp(self.theta, beta, self.frozen.alpha)
        return beta, self.mixed

    def at(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """The same of one item per state."""
        beta = (self.logits.of(action) - self.normaliser).exp()
        if self.frozen is None or self.of_theta is None:
            return beta, beta
        return beta, torch.lerp((self.frozen.logits.of(action) - self.of_theta).exp(), beta, self.frozen.alpha)


def _normalise(scores: Scores, size: int) -> tuple[Tensor, Tensor | None]:
    """``logsumexp`` over all items, ``(B,)``, and the probabilities where they are a single block."""
    if len(scores.bias) <= size:
        whole = scores.block(0, len(scores.bias))
        highest = whole.amax(1)
        weights = _exp(whole, highest)
        total = weights.sum(1)
        return highest + total.log(), weights.div_(total[:, None])
    parts = [_log_sum_exp(scores.block(*ends)) for ends in scores.blocks(size)]
    return torch.logsumexp(torch.stack(parts), 0), None


def _log_sum_exp(values: Tensor) -> Tensor:
    highest = values.amax(1)
    return highest + _exp(values, highest).sum(1).log()


def _exp(values: Tensor, less: Tensor) -> Tensor:
    """``exp(values - less)`` by rows, in place."""
    return values.sub_(less[:, None]).clamp_(min=_LEAST).exp_()


class _PolicyTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, bias: Tensor, given: Any) -> tuple[Tensor, Tensor, Tensor]:
        masked, action, q, frozen, size = given
        logits = Scores(hidden, items, bias, masked)
        policy = _Policy(logits, frozen, size)
        entropy, value, mean_log, mean_q = hidden.new_zeros(4, len(hidden))
        kept = None
        for ends in logits.blocks(size):
            beta, probs = policy.probs(*ends)
            log = probs.clamp(min=TINY).log_()
            entropy -= dot(probs, log)
            mean_log += dot(beta, log)
            scores = None if q is None else q.block(*ends)
            if scores is not None:
                value += dot(probs, scores)
                mean_q += dot(beta, scores)
            if policy.kept is not None:
                kept = log, scores
        beta_a, probs_a = policy.at(action)
        probs_a = probs_a.clamp(min=TINY)
        ctx.given, ctx.policy, ctx.kept = given, policy, kept
        ctx.means = mean_log, mean_q, beta_a / probs_a
        ctx.set_materialize_grads(False)
        return probs_a.log(), entropy, value

    @staticmethod
    def backward(
        ctx: Any, of_log_prob: Tensor | None, of_entropy: Tensor | None, of_value: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        (_, action, q, frozen, size), policy = ctx.given, ctx.policy
        hidden, items, bias, _ = logits = policy.logits
        mean_log, mean_q, ratio = ctx.means
        zero = torch.zeros_like(mean_log)
        by_log, by_entropy, by_value = (zero if g is None else g for g in (of_log_prob, of_entropy, of_value))
        # dH / dprobs = -log(probs) - 1; what is the same for all items falls out.
        centre = by_value * mean_q - by_entropy * mean_log + by_log * ratio
        at_action = by_log * ratio
        to_hidden, to_bias = torch.zeros_like(hidden), torch.empty_like(bias)
        to_items = torch.empty_like(items) if ctx.needs_input_grad[1] else None
        for start, stop in logits.blocks(size):
            beta, probs = policy.probs(start, stop)
            log, scores = ctx.kept or (probs.clamp(min=TINY).log_(), None)
            gradient = torch.addcmul(-centre[:, None], log, by_entropy[:, None], value=-1)
            if q is not None and of_value is not None:
                gradient.addcmul_(q.block(start, stop) if scores is None else scores, by_value[:, None])
            gradient.mul_(beta)
            here = ((action >= start) & (action < stop)).nonzero()[:, 0]
            gradient[here, action[here] - start] += at_action[here]
            if frozen is not None:
                gradient.mul_(frozen.alpha)
            to_hidden.addmm_(gradient, items[start:stop])
            torch.sum(gradient, 0, out=to_bias[start:stop])
            if to_items is not None:
                torch.mm(gradient.T, hidden, out=to_items[start:stop])
        return to_hidden, to_items, to_bias, None
