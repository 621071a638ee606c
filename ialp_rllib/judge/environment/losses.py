r"""Losses of the LLM environment.

With the unit vectors :math:`\hat s, \hat a` of a state and of items in one small space, and the reward r of an item
in a state:

.. math::
    L_{sm} &= -\log \mathrm{softmax}_{a^+} \big(e^\tau\, \hat s \cdot \hat a - \log q(a)\big) \\
    L_{rm} &= -\log \sigma(r(s, a^+) - r(s, a^-)) \\
    \hat r(s, a) &= \sigma\big(r(s, a) - \bar r(s)\big)

q is the probability with which candidates are sampled; where all items are candidates it is left out. The
Bradley-Terry loss leaves r free up to a function of the state: only :math:`\hat r`, relative to the mean
:math:`\bar r(s)` over uniform items, is a reward. It is 0.5 for indifference.

Sources: Wang et al., SIGIR 2024 (arXiv 2403.16948); Bradley & Terry, Biometrika 39, 1952; the correction by log q:
Bengio & Senécal, AISTATS 2003.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def similarity_losses(scores: Tensor, target: Tensor) -> Tensor:
    """L_sm of N states, ``(N,)``.

    Args:
        scores: ``(N, C)`` similarity of each state with the candidates, after the correction by log q.
        target: ``(N,)`` index of the true item among the candidates.
    """
    return F.cross_entropy(scores.float(), target, reduction="none")


def preference_losses(chosen: Tensor, others: Tensor) -> Tensor:
    """L_rm of N states, ``(N,)``, the mean over K comparisons.

    Args:
        chosen: ``(N,)`` rewards of the chosen items.
        others: ``(N, K)`` rewards of items that were not chosen.
    """
    return -F.logsigmoid((chosen[:, None] - others).float()).mean(1)


def right(margins: Any) -> Any:
    """Which comparisons are right: 1, 0, or 0.5 where both items have the same reward.

    Args:
        margins: rewards of chosen items less those of others, a NumPy array or a torch tensor.
    """
    return 0.5 * (margins > 0) + 0.5 * (margins >= 0)


def centred_reward(reward: Tensor, indifferent: Tensor) -> Tensor:
    """Rewards ``(N, K)`` relative to the mean of others in the same state ``(N, U)``: ``(N, K)``, in (0, 1)."""
    return torch.sigmoid(reward - indifferent.mean(1, keepdim=True))
