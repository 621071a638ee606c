"""The tuning loop: cross-entropy, early stopping on held-out users, and checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.tuning.checkpoint import Checkpoint, Curves
from ialp_rllib.judge.tuning.data import TuningData
from ialp_rllib.judge.tuning.updates import Updates
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)


def fit(
    model: Any,
    tokenizer: PromptTokenizer,
    data: TuningData,
    judge: JudgeSettings,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None],
) -> tuple[Curves, int]:
    """Train the trainable parameters of ``model`` in place, resuming from the checkpoint if there is one.

    The loss is a cross-entropy over the whole vocabulary: of the label at the prompts' last position, so that the model
    also learns the answer format, for engines that cannot constrain decoding; or of the tokens of a list's items. An
    update averages over all of these in ``accumulate`` forward passes (in more, once memory has run out). The held-out
    loss is measured after each epoch; with ``early_stopping`` the weights of the best epoch are restored at the end.

    Args:
        model: a causal language model; parameters with ``requires_grad`` are trained, by AdamW.
        tokenizer: the model's tokenizer.
        data: what is learned and held out.
        judge: ``tune`` and ``seed`` are used.
        checkpoint: where the state is saved.
        progress: called with the number of updates done and in total.

    Returns:
        The learning curves, and the epoch whose weights were kept, counted from 1.

    Raises:
        InputError: loss or gradient was not finite more than ``max_skipped`` times.
    """
    tune, n = judge.tune, len(data.train.ids)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(weights.values(), lr=tune.learning_rate, weight_decay=0.0)
    per_epoch = -(-n // (tune.batch * tune.accumulate))
    total = tune.epochs * per_epoch
    warmup = max(1.0, tune.warmup * total)
    curves, previous, best = Curves(micro_batch=tune.batch), dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    if (newest := checkpoint.newest()) is not None:
        curves, previous, best = checkpoint.restore(newest, weights, optimiser)
        log.info("resuming the tuning after %d updates", curves.attempted)
    updates = Updates(model, tokenizer, tune, weights, optimiser, curves, previous)
    for epoch in range(curves.attempted // per_epoch, tune.epochs):
        if curves.should_stop(tune) and epoch >= len(data.easier):
            break
        lessons = data.of_pass(epoch)
        order = np.random.default_rng([judge.seed, 2, epoch]).permutation(len(lessons.ids))
        for rows in np.array_split(order, per_epoch)[curves.attempted % per_epoch :]:
            updates.update(lessons, rows, min(1.0, (curves.attempted + 1) / warmup))
            progress(curves.attempted, total)
            if curves.attempted % tune.checkpoint_every == 0 and curves.attempted % per_epoch:
                checkpoint.save(curves, weights, updates.previous, best, optimiser)
        if data.held_out.ids:
            curves.held_out_loss.append(updates.held_out_loss(data.held_out))
            if tune.early_stopping and curves.best_epoch() == epoch + 1:
                best = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        checkpoint.save(curves, weights, updates.previous, best, optimiser)
    updates.require_any()
    with torch.no_grad():
        for name, weight in best.items():
            weights[name].copy_(weight)
    log.info("tuned the judge: loss %.3f -> %.3f", curves.loss[0], np.mean(curves.loss[-max(1, per_epoch // 4) :]))
    return curves, curves.best_epoch() if best else tune.epochs
