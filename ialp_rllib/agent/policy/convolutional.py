r"""Sequential models of convolutions: NextItNet and Caser. A state sees the items up to it and no later one.

Sources: Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM 2019 (arXiv
1808.05163); Tang & Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM 2018
(arXiv 1809.07426). Caser's vector of the user is left out: held-out users have none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ialp_rllib.settings import OfflineSettings

_DILATIONS = (1, 4)  # of the blocks, in turn; the second layer of a block has twice the first one's


class CausalConvolution(nn.Module):
    """A dilated convolution over the positions up to each.

    Args:
        width: of its inputs and outputs, d.
        kernel: number of positions that it reads, at least 2.
        dilation: distance between them.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self._before = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` -> ``(B, T, d)``; what is before the first position is 0."""
        found: Tensor = self.conv(F.pad(x.transpose(1, 2), (self._before, 0)))
        return found.transpose(1, 2)

    def after(self, x: Tensor, actions: Tensor) -> Tensor:
        """What it gives at ``actions`` ``(B, T, d)``, each of which stands behind its position of ``x``."""
        weight, dilation = self.conv.weight, self.conv.dilation
        past = F.pad(x.transpose(1, 2), (self._before - 1, 0))
        found = F.conv1d(past, weight[:, :, :-1], self.conv.bias, dilation=dilation)[..., : x.shape[1]]
        return found.transpose(1, 2) + F.linear(actions, weight[:, :, -1])


class _Residual(nn.Module):
    """Two dilated convolutions, each with layer normalisation and ReLU behind it, added to their input."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first, self.second = (CausalConvolution(width, kernel, d) for d in (dilation, 2 * dilation))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: Tensor, actions: Tensor | None) -> tuple[Tensor, Tensor | None]:
        inner = F.relu(self.norms[0](self.first(x)))
        if actions is not None:
            beside = F.relu(self.norms[0](self.first.after(x, actions)))
            actions = actions + F.relu(self.norms[1](self.second.after(inner, beside)))
        return x + F.relu(self.norms[1](self.second(inner))), actions


class NextItNet(nn.Module):
    """Residual blocks of dilated causal convolutions: each state sees all items before it within their reach.

    ``blocks`` blocks; two of them with a ``kernel`` of 3 reach 31 items.
    """

    def __init__(self, settings: OfflineSettings) -> None:
        super().__init__()
        dilations = [_DILATIONS[number % len(_DILATIONS)] for number in range(settings.blocks)]
        self.blocks = nn.ModuleList(_Residual(settings.width, settings.kernel, d) for d in dilations)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` embeddings of items -> ``(B, T, d)`` states after each of them."""
        return self._encode(x, None)[0]

    def with_actions(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """States after each item, and those after one more item; as :meth:`.sequential.SASRec.with_actions`."""
        states, after = self._encode(x, actions)
        assert after is not None
        return states, after

    def _encode(self, x: Tensor, actions: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = self.dropout(x)
        actions = None if actions is None else self.dropout(actions)
        for block in self.blocks:
            x, actions = block(x, actions)
        return self.dropout(x), None if actions is None else self.dropout(actions)


class Caser(nn.Module):
    """Filters over a window of the last items: some over several items at once, whose highest value counts, some over
    one dimension of all of them. Before the first item there are zeros.

    ``filters`` filters of each height from 1 to ``window``, and ``filters_down`` of the second kind.
    """

    def __init__(self, settings: OfflineSettings) -> None:
        super().__init__()
        width, self._window = settings.width, settings.window
        self.across = nn.ModuleList(nn.Conv1d(width, settings.filters, h) for h in range(1, settings.window + 1))
        self.down = nn.Conv1d(1, settings.filters_down, settings.window)
        size = settings.window * settings.filters + settings.filters_down * width
        self.join, self.dropout = nn.Linear(size, width), nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` embeddings of items -> ``(B, T, d)`` states after each of them."""
        return self._encode(F.pad(self.dropout(x), (0, 0, self._window - 1, 0)))

    def with_actions(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """States after each item, and those after one more item; as :meth:`.sequential.SASRec.with_actions`."""
        padded = F.pad(self.dropout(x), (0, 0, self._window - 1, 0))
        before = padded.unfold(1, self._window, 1).transpose(2, 3)[:, :, 1:]  # (B, T, window - 1, d)
        windows = torch.cat([before, self.dropout(actions)[:, :, None]], 2).flatten(0, 1)
        return self._encode(padded), self._encode(windows).view_as(x)

    def _encode(self, x: Tensor) -> Tensor:
        """``(B, T + window - 1, d)`` -> ``(B, T, d)``: the state of each window, all windows at once."""
        columns = x.transpose(1, 2)
        batch, width, length = columns.shape
        states = length - self._window + 1
        highest = [F.max_pool1d(F.relu(conv(columns)), self._window - h, 1) for h, conv in enumerate(self.across)]
        down = self.down(columns.reshape(batch * width, 1, length)).view(batch, -1, states)
        joined = torch.cat([*highest, down], 1).transpose(1, 2)
        found: Tensor = self.dropout(F.relu(self.join(self.dropout(joined))))
        return found
