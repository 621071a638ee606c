"""Training of the tiny judge: from one skill to the next, killed and continued at will.

A small transformer that begins with the whole task stays at chance for hours. So it learns in steps (:data:`STEPS`):

1. to compare: the lower half of its layers alone gives every candidate a score, read off by a helper that is thrown
   away afterwards;
2. to name the best by its letter: of few candidates first, then of all; besides the answer, it is asked after each
   candidate for the answer among those read so far, a signal k times denser;
3. to do so below the instruction. Some prompts of each step have it, in any of its wordings; one that has never seen it
   loses most of its skill there, and one that always sees it needs twice the time.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MistralForCausalLM

from ialp_rllib.errors import InputError
from ialp_rllib.judge.tiny.curriculum import TaskBatch, TaskSampler
from ialp_rllib.judge.tiny.pieces import Pieces
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)

WARMUP = 50  # updates over which the step size rises
ITEMS_RATE = 0.1  # of a step, that the items' tokens take
STEADY = 0.5  # share of the training after which the step size falls, to nothing at its end


class Step(NamedTuple):
    """Until which share of the training; candidates as a share of k; are answers asked; batches with instruction."""

    until: float
    candidates: float
    answered: bool
    framed: float


STEPS = (
    Step(0.28, 1.0, answered=False, framed=0.2),
    Step(0.36, 0.2, answered=True, framed=0.2),
    Step(0.85, 1.0, answered=True, framed=0.2),
    Step(1.00, 1.0, answered=True, framed=1.0),
)


@dataclass
class Position:
    """Where a training is.

    Attributes:
        update: updates done; seconds, cpu_seconds: spent on them; share: of the training.
        score_loss, answer_loss: moving averages of the divergences (nats) from what is right, of the scores and of the
            final answers.
    """

    update: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    share: float = 0.0
    score_loss: float = math.nan
    answer_loss: float = math.nan


def train(
    model: MistralForCausalLM,
    pieces: Pieces,
    tasks: TaskSampler,
    k: int,
    tiny: TinySettings,
    checkpoint: Path,
    progress: Callable[[float], None],
) -> Position:
    """Take ``model`` through :data:`STEPS`, from the checkpoint where there is one.

    Raises:
        InputError: the checkpoint is damaged.
    """
    student = _Student(model, pieces)
    optimiser = torch.optim.AdamW(student.parameters(), lr=tiny.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    at = _restore(checkpoint, student, optimiser, tasks) if checkpoint.is_file() else Position()
    began, cpu_began = time.perf_counter() - at.seconds, time.process_time() - at.cpu_seconds
    while at.share < 1.0:
        step = next(s for s in STEPS if at.share < s.until)
        optimiser.param_groups[0]["lr"] = tiny.learning_rate * _rate(at)
        task = tasks.draw(tiny.batch, max(2, round(step.candidates * k)))
        frame = int(tasks.rng.integers(len(pieces.frames))) if tasks.rng.random() < step.framed else None
        losses = student.losses(task, frame, step.answered)
        student.update(torch.stack(list(losses.values())).sum(), optimiser)
        at.score_loss = _moving(at.score_loss, losses["score"].item())
        if step.answered:
            at.answer_loss = _moving(at.answer_loss, losses["answer"].item())
        at.update, at.seconds = at.update + 1, time.perf_counter() - began
        at.cpu_seconds = time.process_time() - cpu_began
        at.share = max(at.update / tiny.updates, at.seconds / (60 * tiny.minutes) if tiny.minutes else 0.0)
        progress(min(1.0, at.share))
        if at.update % tiny.checkpoint_every == 0:
            _save(checkpoint, student, optimiser, tasks, at)
            text = "update %d, %.0f s, %d candidates: scores %.3f, answers %.3f nats from right"
            log.info(text, at.update, at.seconds, task.candidates.shape[1], at.score_loss, at.answer_loss)
    return at


class _Student(nn.Module):
    """The model and the helper that reads scores off its middle."""

    def __init__(self, model: MistralForCausalLM, pieces: Pieces) -> None:
        super().__init__()
        self.model, self.pieces = model, pieces
        self.score = nn.Linear(model.config.hidden_size, 1)
        self.labels = torch.from_numpy(pieces.labels)
        self.of_items = torch.from_numpy(np.unique(np.concatenate(pieces.items)))

    def losses(self, task: TaskBatch, frame: int | None, answered: bool) -> dict[str, Tensor]:
        """Mean Kullback-Leibler divergences: of the scores; and of the answer, and of the answers so far."""
        ids, places = self.pieces.compose(task.history, task.candidates, frame)
        rows, place = torch.arange(len(ids))[:, None], torch.from_numpy(places)
        middle, top = self._states(torch.from_numpy(ids), answered)
        states = middle[rows, place[:, :-1]]
        scores = self.score(nn.functional.rms_norm(states, states.shape[-1:]))[..., 0]
        losses = {"score": _divergence(task.weights, torch.log_softmax(scores, 1)).mean()}
        if answered:
            k = task.candidates.shape[1]
            labels = torch.cat([self.labels[:k], self.labels[-1:]])
            table = self.model.lm_head.weight
            so_far = top[rows, place[:, :-1]] @ table[labels].T
            # Over all tokens, not only the labels, so that an engine that cannot constrain its reply gets labels, too.
            answer = torch.log_softmax(top[rows[:, 0], place[:, -1]] @ table.T, 1)[:, labels]
            losses["answer"] = _divergence(task.answers[:, -1], answer).mean()
            losses["so_far"] = _divergence(task.answers[:, :-1], torch.log_softmax(so_far, 2)).mean()
        return losses

    def update(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """One step. The items' tokens begin with what is known of them, and are held back so as not to lose it."""
        table = self.model.model.embed_tokens.weight
        before = table.detach()[self.of_items]
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            table[self.of_items] = torch.lerp(before, table[self.of_items], ITEMS_RATE)

    def _states(self, ids: Tensor, whole: bool) -> tuple[Tensor, Tensor]:
        """``(B, S, width)`` in the middle and, if the ``whole`` model is to run, at the top (else the middle again).

        Padding stands on the right and attention looks to the left only, so no mask is needed.
        """
        body = self.model.model
        layers = body.layers
        half = len(layers) // 2
        seen: list[Tensor] = []
        hook = layers[half - 1].register_forward_hook(lambda layer, given, gave: seen.append(gave))
        body.layers = layers if whole else layers[:half]
        try:
            top = body(input_ids=ids, use_cache=False).last_hidden_state
        finally:
            body.layers = layers
            hook.remove()
        return seen[0], top


def _divergence(right: Tensor, logprobs: Tensor) -> Tensor:
    return (right * ((right + 1e-9).log() - logprobs)).sum(-1)


def _rate(at: Position) -> float:
    """Factor of the step size: up over the first updates, down along a cosine over the last part."""
    falling = max(0.0, (at.share - STEADY) / (1 - STEADY))
    return min(1.0, (at.update + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * falling))


def _moving(average: float, now: float) -> float:
    return now if math.isnan(average) else 0.98 * average + 0.02 * now


def _save(path: Path, student: _Student, optimiser: torch.optim.Optimizer, tasks: TaskSampler, at: Position) -> None:
    state = {
        "student": student.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": tasks.rng.bit_generator.state,
        "at": asdict(at),
    }
    write_atomic(path, lambda temporary: torch.save(state, temporary))


def _restore(path: Path, student: _Student, optimiser: torch.optim.Optimizer, tasks: TaskSampler) -> Position:
    try:
        state = torch.load(path, weights_only=True)
        student.load_state_dict(state["student"])
        optimiser.load_state_dict(state["optimiser"])
        tasks.rng.bit_generator.state = state["rng"]
        at = Position(**state["at"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(str(path), f"is damaged ({problem})", "delete it to train from the start") from error
    log.info("training goes on after %d updates", at.update)
    return at
