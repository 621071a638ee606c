"""What the tuning loop learns from, whatever is tuned: examples with their loss, pass by pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch


class Lesson(Protocol):
    """Examples, called rows, and the loss of some of them. The loss of an update is a mean over *terms*: predicted
    tokens, or transitions.
    """

    def __len__(self) -> int:
        """Number of rows."""

    def terms(self, rows: np.ndarray) -> int:
        """Number of terms of these rows."""

    def parts(self, rows: np.ndarray, batch: int) -> list[np.ndarray]:
        """The rows in parts for one forward pass each, of up to ``batch`` rows."""

    def summed_loss(self, rows: np.ndarray) -> tuple[torch.Tensor, float]:
        """Sum of the losses of these rows' terms, in one forward pass, and how many of the terms are answered right."""


class Course(NamedTuple):
    """What is learned.

    Attributes:
        of_pass: the lesson of a pass, counted from 0; all have the same number of rows.
        held_out: for early stopping; None: all passes are made.
        easier: first passes, after which the loop does not stop.
        settings: name of the group of settings, for messages.
    """

    of_pass: Callable[[int], Lesson]
    held_out: Lesson | None
    easier: int = 0
    settings: str = "judge.tune"


class Loop(Protocol):
    """Settings of the loop: see :class:`ialp_rllib.settings.TuneSettings`."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def warmup(self) -> float: ...
    @property
    def early_stopping(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def max_skipped(self) -> int: ...


class Steps(NamedTuple):
    """A :class:`Loop` whose numbers are not those of one group of settings."""

    learning_rate: float
    epochs: int
    batch: int
    accumulate: int
    warmup: float
    early_stopping: int
    checkpoint_every: int
    max_skipped: int


@torch.no_grad()
def mean_of(model: Any, lesson: Lesson, batch: int) -> float:
    """Mean loss per term of a whole lesson, without dropout."""
    model.eval()
    everything = np.arange(len(lesson))
    total = sum(lesson.summed_loss(part)[0].item() for part in lesson.parts(everything, batch))
    return total / lesson.terms(everything)
