"""Memory that runs out: how it is recognised, and work that is halved until it fits."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, TypeVar

import torch

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
_ALLOCATION = ("CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")  # of RuntimeErrors that say the same


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the GPU or of the machine, is used up."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _ALLOCATION)


def free_memory() -> None:
    """Free cached memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def unless_out_of_memory(work: Callable[[], R]) -> R | None:
    """What ``work`` returns, or None if memory ran out; what it had allocated is free then."""
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    free_memory()  # outside the handler: its traceback holds the tensors of what failed
    return None


class Shrinking(Generic[T]):
    """Batches that are halved where memory runs out; as large ones are not tried again.

    Args:
        size: of a batch, in any unit that grows with the memory that it needs.
        halves: a batch in smaller parts; empty: it cannot be divided.

    Attributes:
        most: the largest size that is tried: less than the smallest one for which memory ran out.
    """

    def __init__(self, size: Callable[[T], int], halves: Callable[[T], list[T]]) -> None:
        self._size, self._halves = size, halves
        self.most = sys.maxsize

    def run(self, batches: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R | None]]:
        """Do the work of all batches.

        Yields:
            Each batch, or part of one, with its result; None: it cannot be divided and does not fit.
        """
        waiting = list(batches)[::-1]
        while waiting:
            batch = waiting.pop()
            parts = self._halves(batch) if self._size(batch) > self.most else []
            if not parts:
                result = unless_out_of_memory(partial(work, batch))
                if result is not None:
                    yield batch, result
                    continue
                parts = self._shrink(batch)
            if not parts:
                yield batch, None
            waiting += parts[::-1]

    def _shrink(self, batch: T) -> list[T]:
        parts = self._halves(batch)
        if parts:
            self.most = min(self.most, self._size(batch) - 1)
            log.warning("out of memory: batches of at most %d tokens from now on", self.most)
        return parts


def two(rows: list[T]) -> list[list[T]]:
    """A list in two halves; empty if it has one element."""
    middle = len(rows) // 2
    return [rows[:middle], rows[middle:]] if middle else []
