"""Updates of a tuning run: gradients in forward passes that fit into memory, and steps that stay finite."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.memory import free_memory, is_out_of_memory
from ialp_rllib.judge.tuning.checkpoint import Curves
from ialp_rllib.judge.tuning.lesson import Lesson, Loop, mean_of

log = logging.getLogger(__name__)
T = TypeVar("T")


class Updates:
    """Updates of the trainable weights.

    An update whose loss or gradient is not finite is skipped. The step before it led there, so it is undone as well,
    and the learning rate is halved: :attr:`.Curves.learning_rate_factor`. Where memory runs out, the forward passes are
    halved and the update is repeated; it still averages over all of its rows.

    Args:
        model: what is trained; it is put into training and evaluation mode.
        loop: ``learning_rate`` and ``max_skipped`` are used.
        settings: name of the group of settings, for messages.
        weights: name -> trainable parameter.
        optimiser: of these.
        curves: what happens is recorded there.
        previous: name -> weight before the last update; empty if there was none.

    Attributes:
        previous: as above, up to date.
    """

    def __init__(
        self,
        model: Any,
        loop: Loop,
        settings: str,
        weights: dict[str, torch.Tensor],
        optimiser: torch.optim.Optimizer,
        curves: Curves,
        previous: dict[str, torch.Tensor],
    ) -> None:
        self._model, self._loop, self._settings = model, loop, settings
        self._weights, self._optimiser, self._curves = weights, optimiser, curves
        self.previous = previous

    def update(self, lesson: Lesson, rows: np.ndarray, warmup: float) -> None:
        """One update with these rows, recorded in the curves.

        Args:
            lesson: what is learned.
            rows: indices of the update's rows.
            warmup: factor of the learning rate.

        Raises:
            InputError: too many updates were skipped.
        """
        loss, accuracy, norm = self._in_memory(lambda batch: self._gradient(lesson, rows, batch))
        self._curves.attempted += 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._skip(f"loss {loss:g}, gradient norm {norm:g}")
            return
        rate = self._loop.learning_rate * self._curves.learning_rate_factor * warmup
        self._optimiser.param_groups[0]["lr"] = rate
        self.previous = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._optimiser.step()
        self._curves.loss.append(loss)
        self._curves.accuracy.append(accuracy)

    def held_out_loss(self, lesson: Lesson) -> float:
        """The loss of what is held out. Where it is not finite, the last step is undone and it is repeated.

        Raises:
            InputError: it is not finite without the last step, either, or too many updates were skipped.
        """
        for _ in range(2):
            loss = self._in_memory(lambda batch: mean_of(self._model, lesson, batch))
            if math.isfinite(loss):
                return loss
            self._skip(f"held-out loss {loss:g}")
        raise self._diverged(f"the held-out loss is {loss:g}")

    def require_any(self) -> None:
        """Raise if every update was skipped."""
        if not self._curves.loss:
            raise self._diverged("loss or gradient of every update was not finite")

    def _gradient(self, lesson: Lesson, rows: np.ndarray, batch: int) -> tuple[float, float, float]:
        """Compute the clipped gradient in forward passes of up to ``batch`` rows.

        Returns:
            Mean loss and accuracy per term, and the norm of the gradient before it was clipped.
        """
        self._model.train()
        self._optimiser.zero_grad()
        loss, correct, count = 0.0, 0.0, lesson.terms(rows)
        for part in lesson.parts(rows, batch):
            part_loss, part_correct = lesson.summed_loss(part)
            (part_loss / count).backward()
            loss += part_loss.item() / count
            correct += part_correct
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), 1.0).item()
        return loss, correct / count, norm

    @torch.no_grad()
    def _skip(self, what: str) -> None:
        """Undo the last step, and halve the learning rate."""
        for name, weight in self.previous.items():
            self._weights[name].copy_(weight)
        self._optimiser.zero_grad()
        self._curves.skipped_updates.append(self._curves.attempted)
        skipped, at = len(self._curves.skipped_updates), self._curves.attempted
        if skipped > self._loop.max_skipped:
            raise self._diverged(f"{what} at update {at}, after {skipped - 1} skipped updates")
        log.warning("update %d is skipped (%s); the learning rate is halved, to 1/%d", at, what, 2**skipped)

    def _diverged(self, what: str) -> InputError:
        expected = "a smaller learning rate, or judge.dtype other than float16"
        return InputError(f"{self._settings}.learning_rate", f"the tuning has diverged: {what}", expected)

    def _in_memory(self, work: Callable[[int], T]) -> T:
        """``work(batch)``, repeated with half the batch whenever memory runs out.

        The random generators are restored, so that the result is that of the smaller batch.
        """
        state = _random_state()
        while True:
            batch = self._curves.micro_batch
            try:
                return work(batch)
            except RuntimeError as error:
                if batch == 1 or not is_out_of_memory(error):
                    raise
            self._optimiser.zero_grad()  # outside the handler: its traceback holds the tensors of the failed pass
            free_memory()
            _set_random_state(state)
            self._curves.micro_batch = -(-batch // 2)
            log.warning("out of memory: %d instead of %d examples per forward pass", self._curves.micro_batch, batch)


def _random_state() -> tuple[torch.Tensor, torch.Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
