"""Keys and values of the beginning that prompts share (:mod:`.prefix`), computed once for all rows of all batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class _Before(DynamicLayer):
    """Keys and values ``(1, heads, P, size)`` in front of those of each row. They are the same after a pass."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self._before = keys, values
        self.keys, self.values, self.is_initialized = keys, values, True
        self.dtype, self.device = keys.dtype, keys.device

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all positions. What is shared is expanded, and copied for this layer only."""
        keys, values = (part.expand(len(key_states), -1, -1, -1) for part in self._before)
        return torch.cat([keys, key_states], 2), torch.cat([values, value_states], 2)


class SharedPrefix:
    """Keys and values of the last beginning that was asked for.

    Args:
        model: a causal language model of transformers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tokens: tuple[int, ...] = ()
        self._layers: list[_Before] = []

    def __call__(self, tokens: Sequence[int]) -> Cache:
        """The cache that goes into a forward pass with what follows ``tokens``, P of them."""
        if self._tokens != tuple(tokens):
            self._tokens, self._layers = (), []  # free before the next one is computed
            filled = DynamicCache()  # made without a configuration: every layer keeps all positions, windows or not
            ids = torch.tensor([list(tokens)], device=self._model.device)
            self._model.base_model(input_ids=ids, past_key_values=filled, use_cache=True)
            layers: list[Any] = filled.layers
            self._layers = [_Before(layer.keys, layer.values) for layer in layers]
            self._tokens = tuple(tokens)
        return Cache(layers=list(self._layers))
