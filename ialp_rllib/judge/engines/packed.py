"""Scores of packed queries with transformers: side by side under a tree mask, or one by one where a model cannot.

What all packs begin with is computed once (:mod:`.prefix_cache`).
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ialp_rllib.judge.engines.packing import Layout, Leaf, Pack, Reading, layout, reading, tree_mask, windows

log = logging.getLogger(__name__)

_ROWS = 512  # positions whose distributions over the vocabulary are in memory twice
# Of a log-probability per token, absolute and relative. What is computed in 16 bits is rounded otherwise.
_TOLERANCE = {"float32": (1e-4, 0.0), "bfloat16": (0.1, 0.02), "float16": (2e-2, 1e-2)}


class PackedScorer:
    """Scores continuations of a common prefix with a model of transformers.

    Args:
        model: the model, in evaluation mode.
        pad_id: id at padded positions.
        vocabulary: number of token ids.
        longest: most tokens of a prefix with one continuation.
        dtype: precision of the weights.
        lock: held while the model runs.

    Attributes:
        together: whether continuations share a sequence: checked with random tokens.
        shares: whether what all packs begin with is computed once: checked, too.
    """

    def __init__(
        self, model: Any, pad_id: int, vocabulary: int, longest: int, dtype: str, lock: threading.Lock
    ) -> None:
        from ialp_rllib.judge.engines.prefix_cache import SharedPrefix  # here: not every process needs transformers

        self._model, self._pad_id, self._lock = model, pad_id, lock
        self._accepted = frozenset(inspect.signature(model.forward).parameters)
        self._window, self._mixed = windows(model.config.get_text_config())
        self._before = SharedPrefix(model)
        self._tolerance = _TOLERANCE[dtype]
        self.together = self.shares = False
        if "position_ids" in self._accepted:
            self._check(vocabulary, longest)

    def _check(self, vocabulary: int, longest: int) -> None:
        """Whether packed scores equal those of continuations one by one; with a beginning computed apart, too."""
        rng = np.random.default_rng(0)
        beyond = self._window + 16 if self._window is not None and self._window < longest else 16
        room = max(2, min(longest - 8, beyond))
        begin: list[int] = rng.integers(vocabulary, size=room // 2).tolist()
        behind = []
        for length, leaves in ((room - len(begin), (3, 7, 1)), (1, (4, 2))):
            prefix, *rest = (rng.integers(vocabulary, size=n).tolist() for n in (length, *leaves))
            behind.append(Pack(prefix, [Leaf(0, i, ids) for i, ids in enumerate(rest)]))
        packs = [Pack(begin + pack.prefix, pack.leaves) for pack in behind]
        alone = self.score([Pack(pack.prefix, [leaf]) for pack in packs for leaf in pack.leaves])
        self.together = self._equals(lambda: self.score(packs), alone)
        self.shares = self.together and self._equals(lambda: self.score(behind, shared=begin), alone)

    def _equals(self, score: Callable[[], np.ndarray], expected: np.ndarray) -> bool:
        """Whether both have the same log-probability per token."""
        try:
            found = score()
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            log.info("continuations cannot share a sequence: %s", " ".join(str(error).split())[:200])
            return False
        (atol, rtol), lengths = self._tolerance, expected[:, 1:]
        return bool(np.allclose(found / lengths, expected / lengths, atol=atol, rtol=rtol))

    def score(self, packs: Sequence[Pack], answers: Sequence[int] = (), shared: Sequence[int] = ()) -> np.ndarray:
        """One batch.

        Args:
            packs: with several leaves only if :attr:`together`.
            answers: token ids of labels; empty: the continuations themselves.
            shared: tokens that precede each pack; none unless :attr:`shares`.

        Returns:
            ``(leaves, 2) float32``, sum of the log-probabilities of a leaf's tokens and their number; or ``(leaves,
            answers)``, the labels' log-probabilities behind it, normalised over them.
        """
        batch = layout(packs, self._pad_id, len(shared))
        positions = reading(packs, behind=bool(answers))
        tree = bool(shared) or any(len(pack.leaves) > 1 for pack in packs)
        with self._lock, torch.inference_mode():
            logits = self._logits(batch, positions, tree, shared)
            if answers:
                chosen = torch.log_softmax(logits[:, list(answers)].float(), 1)
                return chosen.cpu().numpy()
            parts = [
                -torch.nn.functional.cross_entropy(rows.float(), tokens, reduction="none")
                for rows, tokens in zip(
                    logits.split(_ROWS), positions.token.to(logits.device).split(_ROWS), strict=True
                )
            ]
            logprobs = torch.cat(parts).cpu()
        leaves = sum(len(pack.leaves) for pack in packs)
        sums = torch.zeros(leaves).index_add_(0, positions.leaf, logprobs)
        counts = torch.bincount(positions.leaf, minlength=leaves).float()
        return torch.stack([sums, counts], 1).numpy()

    def _logits(self, batch: Layout, positions: Reading, tree: bool, shared: Sequence[int]) -> torch.Tensor:
        """Logits at the positions that are read, ``(N, V)``."""
        device, columns = self._model.device, torch.unique(positions.column)
        options: dict[str, Any] = {
            "input_ids": batch.ids.to(device),
            "attention_mask": self._tree_mask(batch, len(shared)) if tree else (batch.branch >= 0).long().to(device),
            "position_ids": batch.positions.to(device),
            "use_cache": False,
        }
        options = {name: value for name, value in options.items() if name in self._accepted}
        if shared:
            options |= {"past_key_values": self._before(shared), "use_cache": True}
        if tree:
            return self._at(options, positions)
        if "logits_to_keep" in self._accepted:
            logits = self._model(**options, logits_to_keep=columns.to(device)).logits
            column = torch.searchsorted(columns, positions.column)
        else:
            logits, column = self._model(**options).logits, positions.column
        return logits[positions.row.to(device), column.to(device)]

    def _at(self, options: dict[str, Any], positions: Reading) -> torch.Tensor:
        """The same, with the output layer computed at these positions only: it costs a third of a small model."""
        row, column = (values.to(self._model.device) for values in (positions.row, positions.column))

        def select(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (inputs[0][row, column][None], *inputs[1:])

        hook = self._model.get_output_embeddings().register_forward_pre_hook(select)
        try:
            return self._model(**options).logits[0]
        finally:
            hook.remove()

    def _tree_mask(self, batch: Layout, start: int) -> Any:
        """The additive mask; one for each kind of layer where a model has two kinds."""
        dtype, device = self._model.dtype, self._model.device

        def additive(window: int | None) -> torch.Tensor:
            zero = torch.zeros((), dtype=dtype)
            lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype)
            return torch.where(tree_mask(batch, window, start), zero, lowest).to(device)

        if self._mixed:
            return {"full_attention": additive(None), "sliding_attention": additive(self._window)}
        return additive(self._window)
