"""Training of the tiny judge by a curriculum, resumable from checkpoints.

A small transformer that is trained on the whole task from the beginning stays at chance for hours. The curriculum has
phases (:data:`PHASES`):

1. Comparison: the lower half of the layers alone scores every candidate, through a linear head that is discarded after
   the training.
2. Answers: the letter of the best candidate, among few candidates first, then among all. Besides the final answer, the
   answer among the candidates read so far is trained after each candidate, which gives k times as many targets.
3. Instruction: all prompts have it, in any of its wordings. Earlier phases have it in some prompts. A model that has
   never seen it loses most of its accuracy with it, and one that always sees it needs twice the time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MistralForCausalLM

from ialp_rllib.judge.tiny.curriculum import TaskBatch, TaskSampler
from ialp_rllib.judge.tiny.pieces import PromptPieces
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.storage import SealedFile

log = logging.getLogger(__name__)

WARMUP = 50  # updates of linear learning rate warm-up
ITEMS_RATE = 0.1  # factor of the learning rate for the embeddings of item tokens
STEADY = 0.5  # fraction of the training after which the learning rate decays to 0


class Phase(NamedTuple):
    """A phase of the curriculum.

    Attributes:
        until: fraction of the training at which it ends.
        candidates: number of candidates, as a fraction of k.
        answered: whether answers are trained, besides scores.
        framed: fraction of batches whose prompts have an instruction.
    """

    until: float
    candidates: float
    answered: bool
    framed: float


PHASES = (
    Phase(0.28, 1.0, answered=False, framed=0.2),
    Phase(0.36, 0.2, answered=True, framed=0.2),
    Phase(0.85, 1.0, answered=True, framed=0.2),
    Phase(1.00, 1.0, answered=True, framed=1.0),
)


@dataclass
class TrainingState:
    """Progress of a training.

    Attributes:
        update: number of updates done.
        seconds: wall time spent on them, for the record; nothing depends on it.
        cpu_seconds: CPU time spent on them, for the record.
        score_loss: moving average of the divergence (nats) of the scores from their targets.
        answer_loss: moving average of the divergence (nats) of the final answers from their targets.
    """

    update: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    score_loss: float = math.nan
    answer_loss: float = math.nan


def train(
    model: MistralForCausalLM,
    pieces: PromptPieces,
    tasks: TaskSampler,
    k: int,
    tiny: TinySettings,
    checkpoint: SealedFile,
    progress: Callable[[int, int], None],
) -> TrainingState:
    """Train ``model`` in place through :data:`PHASES`, resuming from the checkpoint if there is one.

    Args:
        model: the model.
        pieces: token ids of the prompts' pieces.
        tasks: source of the training queries.
        k: number of candidates.
        tiny: settings of the training.
        checkpoint: file of the state; a damaged version is not used.
        progress: called with the number of updates done and in total.
    """
    student = _Student(model, pieces)
    optimiser = torch.optim.AdamW(student.parameters(), lr=tiny.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    at = _restore(saved[0], student, optimiser, tasks) if (saved := checkpoint.intact()) else TrainingState()
    began, cpu_began = time.perf_counter() - at.seconds, time.process_time() - at.cpu_seconds
    while at.update < tiny.updates:
        share = at.update / tiny.updates
        phase = next(p for p in PHASES if share < p.until)
        optimiser.param_groups[0]["lr"] = tiny.learning_rate * _rate(at.update, share)
        task = tasks.draw(tiny.batch, max(2, round(phase.candidates * k)))
        frame = int(tasks.rng.integers(len(pieces.frames))) if tasks.rng.random() < phase.framed else None
        losses = student.losses(task, frame, phase.answered)
        student.update(torch.stack(list(losses.values())).sum(), optimiser)
        at.score_loss = _moving(at.score_loss, losses["score"].item())
        if phase.answered:
            at.answer_loss = _moving(at.answer_loss, losses["answer"].item())
        at.update, at.seconds = at.update + 1, time.perf_counter() - began
        at.cpu_seconds = time.process_time() - cpu_began
        progress(at.update, tiny.updates)
        if at.update % tiny.checkpoint_every == 0:
            _save(checkpoint, student, optimiser, tasks, at)
            text = "update %d, %.0f s, %d candidates: divergence of scores %.3f, of answers %.3f nats"
            log.info(text, at.update, at.seconds, task.candidates.shape[1], at.score_loss, at.answer_loss)
    return at


class _Student(nn.Module):
    """The model, and a linear head that scores candidates from its middle layer."""

    def __init__(self, model: MistralForCausalLM, pieces: PromptPieces) -> None:
        super().__init__()
        self.model, self.pieces = model, pieces
        self.score = nn.Linear(model.config.hidden_size, 1)
        self.labels = torch.from_numpy(pieces.labels)
        self.item_tokens = torch.from_numpy(np.unique(np.concatenate(pieces.items)))

    def losses(self, task: TaskBatch, frame: int | None, answered: bool) -> dict[str, Tensor]:
        """Mean Kullback-Leibler divergences from the targets.

        Args:
            task: queries and targets.
            frame: index of the wording; None: no instruction.
            answered: whether to compute answers, too.

        Returns:
            ``score`` and, if answered, ``answer`` and ``so_far`` (the answers among the candidates read so far).
        """
        ids, positions = self.pieces.compose(task.history, task.candidates, frame)
        rows, position = torch.arange(len(ids))[:, None], torch.from_numpy(positions)
        middle, top = self._states(torch.from_numpy(ids), answered)
        states = middle[rows, position[:, :-1]]
        scores = self.score(nn.functional.rms_norm(states, states.shape[-1:]))[..., 0]
        losses = {"score": _divergence(task.weights, torch.log_softmax(scores, 1)).mean()}
        if answered:
            k = task.candidates.shape[1]
            labels = torch.cat([self.labels[:k], self.labels[-1:]])
            table = self.model.lm_head.weight
            so_far = top[rows, position[:, :-1]] @ table[labels].T
            # Over all tokens, not only the labels, so that engines that cannot constrain decoding get labels, too.
            answer = torch.log_softmax(top[rows[:, 0], position[:, -1]] @ table.T, 1)[:, labels]
            losses["answer"] = _divergence(task.answers[:, -1], answer).mean()
            losses["so_far"] = _divergence(task.answers[:, :-1], torch.log_softmax(so_far, 2)).mean()
        return losses

    def update(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """One optimiser step, with a lower learning rate for the item tokens, which keep their initial information."""
        table = self.model.model.embed_tokens.weight
        before = table.detach()[self.item_tokens]
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            table[self.item_tokens] = torch.lerp(before, table[self.item_tokens], ITEMS_RATE)

    def _states(self, ids: Tensor, whole: bool) -> tuple[Tensor, Tensor]:
        """Hidden states after the middle layer and after the last one, ``(B, S, width)`` each.

        Without ``whole`` only the lower half of the layers runs. Padding is on the right and attention is causal, so no
        mask is needed.
        """
        body = self.model.model
        layers = body.layers
        half = len(layers) // 2
        middle: list[Tensor] = []
        hook = layers[half - 1].register_forward_hook(lambda layer, inputs, output: middle.append(output))
        body.layers = layers if whole else layers[:half]
        try:
            top = body(input_ids=ids, use_cache=False).last_hidden_state
        finally:
            body.layers = layers
            hook.remove()
        return middle[0], top


def _divergence(target: Tensor, logprobs: Tensor) -> Tensor:
    """Kullback-Leibler divergence over the last axis, in nats."""
    return (target * ((target + 1e-9).log() - logprobs)).sum(-1)


def _rate(update: int, share: float) -> float:
    """Factor of the learning rate: linear warm-up, constant, cosine decay.

    Args:
        update: number of updates done.
        share: fraction of the training that is done.
    """
    decay = max(0.0, (share - STEADY) / (1 - STEADY))
    return min(1.0, (update + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * decay))


def _moving(average: float, value: float) -> float:
    """Exponential moving average."""
    return value if math.isnan(average) else 0.98 * average + 0.02 * value


def _save(
    file: SealedFile, student: _Student, optimiser: torch.optim.Optimizer, tasks: TaskSampler, at: TrainingState
) -> None:
    state = {
        "student": student.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": tasks.rng.bit_generator.state,
        "at": asdict(at),
    }
    file.write(lambda temporary: torch.save(state, temporary))


def _restore(path: Path, student: _Student, optimiser: torch.optim.Optimizer, tasks: TaskSampler) -> TrainingState:
    state = torch.load(path, weights_only=True)  # tensors and plain data: no code that a file could bring is run
    student.load_state_dict(state["student"])
    optimiser.load_state_dict(state["optimiser"])
    tasks.rng.bit_generator.state = state["rng"]
    at = TrainingState(**state["at"])
    log.info("resuming the training after %d updates", at.update)
    return at
