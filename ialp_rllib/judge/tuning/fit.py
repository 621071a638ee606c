"""The one tuning loop, of judge, item tokens and LLM environment: early stopping on held-out users, and checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ialp_rllib.judge.tuning.checkpoint import Checkpoint, Curves
from ialp_rllib.judge.tuning.lesson import Course, Loop
from ialp_rllib.judge.tuning.updates import Updates

log = logging.getLogger(__name__)


def fit(
    model: Any,
    course: Course,
    loop: Loop,
    seed: int,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None],
) -> tuple[Curves, int]:
    """Train the trainable parameters of ``model`` in place, resuming from the checkpoint if there is one.

    An update averages over all of its terms in ``accumulate`` forward passes (in more, once memory has run out). The
    held-out loss is measured after each epoch; with ``early_stopping`` the weights of the best epoch are restored at
    the end.

    Args:
        model: a module; parameters with ``requires_grad`` are trained, by AdamW.
        course: what is learned and held out.
        loop: how.
        seed: of the order of the rows.
        checkpoint: where the state is saved.
        progress: called with the number of updates done and in total.

    Returns:
        The learning curves, and the epoch whose weights were kept, counted from 1.

    Raises:
        InputError: loss or gradient was not finite more than ``max_skipped`` times.
    """
    n = len(course.of_pass(0))
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(weights.values(), lr=loop.learning_rate, weight_decay=0.0)
    per_epoch = -(-n // (loop.batch * loop.accumulate))
    total = loop.epochs * per_epoch
    warmup = max(1.0, loop.warmup * total)
    curves, previous, best = Curves(micro_batch=loop.batch), dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    if (newest := checkpoint.newest()) is not None:
        curves, previous, best = checkpoint.restore(newest, weights, optimiser)
        log.info("resuming the tuning after %d updates", curves.attempted)
    updates = Updates(model, loop, course.settings, weights, optimiser, curves, previous)
    for epoch in range(curves.attempted // per_epoch, loop.epochs):
        if curves.should_stop(loop) and epoch >= course.easier:
            break
        lesson = course.of_pass(epoch)
        order = np.random.default_rng([seed, 2, epoch]).permutation(len(lesson))
        for rows in np.array_split(order, per_epoch)[curves.attempted % per_epoch :]:
            updates.update(lesson, rows, min(1.0, (curves.attempted + 1) / warmup))
            progress(curves.attempted, total)
            if curves.attempted % loop.checkpoint_every == 0 and curves.attempted % per_epoch:
                checkpoint.save(curves, weights, updates.previous, best, optimiser)
        if course.held_out is not None:
            curves.held_out_loss.append(updates.held_out_loss(course.held_out))
            if loop.early_stopping and curves.best_epoch() == epoch + 1:
                best = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        checkpoint.save(curves, weights, updates.previous, best, optimiser)
    updates.require_any()
    with torch.no_grad():
        for name, weight in best.items():
            weights[name].copy_(weight)
    log.info("tuned: loss %.3f -> %.3f", curves.loss[0], np.mean(curves.loss[-max(1, per_epoch // 4) :]))
    return curves, curves.best_epoch() if best else len(curves.held_out_loss) or loop.epochs
