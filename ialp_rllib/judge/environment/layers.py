"""A language model in two halves: frozen lower layers, whose output for a history is kept, and upper layers.

Some architectures add positions or scale inputs before the first layer, or name their parts otherwise: for these all
layers are the upper half, and nothing is kept. Whether halves compute what the whole does is checked when the model is
loaded.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.packing import windows
from ialp_rllib.judge.environment.packing import Packing, packing

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}  # relative to the largest number


class Kept(NamedTuple):
    """What the lower layers leave of one history of T items.

    Attributes:
        states: ``(T + 1, d)``, their output.
        keys, values: of each lower layer, ``(heads, T + 1, d_head)``: candidates attend to them.
    """

    states: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(t.numel() * t.element_size() for t in (self.states, *self.keys, *self.values))


class Halves:
    """The halves of a causal language model, which stays the owner of its parameters.

    Args:
        model: the model, in evaluation mode.
        top: number of upper layers; -1: all.
        longest: items of the longest history.

    Raises:
        InputError: the model cannot read histories with candidates side by side.
    """

    def __init__(self, model: Any, top: int, longest: int) -> None:
        inner = model.base_model
        config = model.config.get_text_config()
        window, self._mixed = windows(config)
        if window is not None and window < longest + 2:
            raise InputError("lea.environment.history", f"is {longest}", f"at most {window - 2}, the model's window")
        depth = config.num_hidden_layers
        cut = 0 if top < 0 else max(depth - top, 0)
        self._lower: Any = None
        self._upper: Any = inner
        self.cut = 0
        if cut and isinstance(getattr(inner, "layers", None), nn.ModuleList) and hasattr(inner, "norm"):
            lower, upper = _part(inner, slice(0, cut), nn.Identity()), _part(inner, slice(cut, None), inner.norm)
            if self._same(inner, lower, upper, config.hidden_size):
                self._lower, self._upper, self.cut = lower, upper, cut
        if cut and not self.cut:
            log.info("%s cannot be halved: all of its layers are computed in every pass", type(inner).__name__)
        self._check_packing(config.hidden_size)

    @torch.no_grad()
    def _same(self, whole: Any, lower: Any, upper: Any, width: int) -> bool:
        pack, x = packing(5, 4, 2), _noise(whole, 5 + 1 + 8, width)
        try:
            expected = self._run(whole, x, pack.mask, pack.positions)
            found = self._run(upper, self._run(lower, x, pack.mask, pack.positions), pack.mask, pack.positions)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            return False
        return _close(found, expected)

    @torch.no_grad()
    def _check_packing(self, width: int) -> None:
        """Two candidates beside a history must be what each is behind it."""
        x = _noise(self._upper, 6, width)
        pack, short = packing(3, 3, 1), packing(2)
        try:
            beside = torch.cat([x, x[:, :1]], 1)
            found = self.upper(self.lower(beside, pack), pack)[:, 4]
            behind = torch.cat([x[:, :2], x[:, 4:5]], 1)
            expected = self.upper(self.lower(behind, short), short)[:, -1]
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise InputError(
                "lea.model", f"cannot read vectors in place of tokens ({' '.join(str(error).split())[:150]})", _EXPECTED
            ) from error
        if not _close(found, expected):
            raise InputError("lea.model", "mixes up candidates that share a sequence", _EXPECTED)

    def lower(self, x: Tensor, pack: Packing) -> Tensor:
        """``(B, S, d)`` input vectors -> ``(B, S, d)`` after the lower layers."""
        if self._lower is None:
            return x
        return self._run(self._lower, x, pack.mask, pack.positions)

    def upper(self, x: Tensor, pack: Packing) -> Tensor:
        """``(B, S, d)`` after the lower layers -> ``(B, S, d)`` hidden states."""
        return self._run(self._upper, x, pack.mask, pack.positions)

    @torch.no_grad()
    def keep(self, x: Tensor, lengths: list[int]) -> list[Kept]:
        """The lower layers' output for histories ``(B, T + 1, d)``, of which each has so many positions."""
        if self._lower is None:
            return [Kept(row[:size], (), ()) for row, size in zip(x, lengths, strict=True)]
        cache = _cache()
        pack = packing(x.shape[1] - 1)
        states = self._run(self._lower, x, pack.mask, pack.positions, cache)
        layers = [cache.layers[index] for index in range(self.cut)]
        return [
            Kept(
                states[row, :size].clone(),
                tuple(layer.keys[row, :, :size].clone() for layer in layers),
                tuple(layer.values[row, :, :size].clone() for layer in layers),
            )
            for row, size in enumerate(lengths)
        ]

    @torch.no_grad()
    def beside(self, kept: list[Kept], candidates: Tensor, pack: Packing) -> Tensor:
        """What the lower layers make of histories and candidates ``(B, C, d)``: ``(B, S, d)``. Histories are not
        computed again.
        """
        states = _padded([one.states for one in kept], pack.chain)
        if self._lower is None or not candidates.shape[1]:
            return torch.cat([states, candidates], 1)
        cache = _cache()
        for index in range(self.cut):
            keys = _heads([one.keys[index] for one in kept], pack.chain)
            cache.update(keys, _heads([one.values[index] for one in kept], pack.chain), index)
        rows = slice(pack.chain, None)
        return torch.cat([states, self._run(self._lower, candidates, pack.mask[rows], pack.positions[rows], cache)], 1)

    def _run(self, part: Any, x: Tensor, mask: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        additive = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, torch.finfo(x.dtype).min).to(x.device)
        additive = additive[None, None].expand(len(x), 1, -1, -1)
        found: Tensor = part(
            inputs_embeds=x,
            attention_mask=dict.fromkeys(("full_attention", "sliding_attention"), additive)
            if self._mixed
            else additive,
            position_ids=positions[None].expand(len(x), -1).to(x.device),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return found


_EXPECTED = "a decoder of transformers with rotary positions, such as Llama, Mistral, Qwen or SmolLM"


def _cache() -> Any:
    from transformers import DynamicCache  # slow to import, and not needed to read this module

    return DynamicCache()


def _part(inner: Any, layers: slice, norm: nn.Module) -> Any:
    """Some layers of a model: they are the model's own, in a module of their own."""
    part = copy.copy(inner)
    part._modules = dict(inner._modules)
    part.layers, part.norm = nn.ModuleList(list(inner.layers)[layers]), norm
    return part


def _noise(model: Any, length: int, width: int) -> Tensor:
    weight = next(model.parameters())
    noise = torch.randn(1, length, width, generator=torch.Generator().manual_seed(0))
    return noise.to(weight.device, weight.dtype)


def _close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= _TOLERANCE[found.dtype] * expected.abs().max())


def _padded(rows: list[Tensor], length: int) -> Tensor:
    """``(n, ...)`` each -> ``(B, length, ...)``, padded with zeros."""
    out = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def _heads(rows: list[Tensor], length: int) -> Tensor:
    """``(heads, n, d_head)`` each -> ``(B, heads, length, d_head)``."""
    return _padded([row.transpose(0, 1) for row in rows], length).transpose(1, 2)
