"""The tuning loop: label cross-entropy, early stopping on held-out users, and checkpoints."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.tuning.data import LabelledPrompts, TuningData
from ialp_rllib.settings import JudgeSettings, TuneSettings
from ialp_rllib.storage import write_atomic

log = logging.getLogger(__name__)


@dataclass
class Curves:
    """Learning curves of a tuning run.

    Attributes:
        loss: label cross-entropy (nats) of each update's prompts, before the update.
        accuracy: fraction of the update's prompts whose most probable token, of the whole vocabulary, is the correct
            label.
        held_out_loss: label cross-entropy (nats) of the held-out prompts after each epoch.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)

    def best_epoch(self) -> int:
        """The first epoch with the lowest held-out loss, counted from 1."""
        return int(np.argmin(self.held_out_loss)) + 1

    def should_stop(self, tune: TuneSettings) -> bool:
        """Whether the held-out loss has not improved for ``early_stopping`` epochs."""
        patience, epochs = tune.early_stopping, len(self.held_out_loss)
        return patience > 0 and epochs > 0 and epochs - self.best_epoch() >= patience


def fit(
    model: Any,
    tokenizer: PromptTokenizer,
    data: TuningData,
    judge: JudgeSettings,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None],
) -> tuple[Curves, int]:
    """Train the trainable parameters of ``model`` in place, resuming from the checkpoint if there is one.

    The loss is the cross-entropy of the label at the prompts' last position over the whole vocabulary, not over the
    labels only, so that the model also learns the answer format, for engines that cannot constrain decoding. An update
    averages over all prompts of ``accumulate`` forward passes. The held-out loss is measured after each epoch; with
    ``early_stopping`` the weights of the best epoch are restored at the end.

    Args:
        model: a causal language model; parameters with ``requires_grad`` are trained, by AdamW.
        tokenizer: the model's tokenizer.
        data: training and held-out prompts.
        judge: ``tune`` and ``seed`` are used.
        checkpoint: where the state is saved.
        progress: called with the number of updates done and in total.

    Returns:
        The learning curves, and the epoch whose weights were kept, counted from 1.

    Raises:
        InputError: the loss is no longer finite.
    """
    tune, n = judge.tune, len(data.train.ids)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(weights.values(), lr=tune.learning_rate, weight_decay=0.0)
    per_epoch = -(-n // (tune.batch * tune.accumulate))
    total = tune.epochs * per_epoch
    warmup = max(1.0, tune.warmup * total)
    curves = Curves()
    best: dict[str, torch.Tensor] = {}
    if checkpoint.up_to_date():
        curves, best = checkpoint.restore(weights, optimiser)
        log.info("resuming the tuning after %d updates", len(curves.loss))
    for epoch in range(len(curves.loss) // per_epoch, tune.epochs):
        if curves.should_stop(tune):
            break
        order = np.random.default_rng([judge.seed, 2, epoch]).permutation(n)
        for rows in np.array_split(order, per_epoch)[len(curves.loss) % per_epoch :]:
            optimiser.param_groups[0]["lr"] = tune.learning_rate * min(1.0, (len(curves.loss) + 1) / warmup)
            loss, accuracy = _update(model, tokenizer, data.train, rows, optimiser, tune.batch)
            curves.loss.append(_finite(loss, len(curves.loss)))
            curves.accuracy.append(accuracy)
            progress(len(curves.loss), total)
            if len(curves.loss) % tune.checkpoint_every == 0 and len(curves.loss) % per_epoch:
                checkpoint.save(curves, weights, best, optimiser)
        if data.held_out.ids:
            curves.held_out_loss.append(
                _finite(label_loss(model, tokenizer, data.held_out, tune.batch), len(curves.loss))
            )
            if tune.early_stopping and curves.best_epoch() == epoch + 1:
                best = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        checkpoint.save(curves, weights, best, optimiser)
    with torch.no_grad():
        for name, weight in best.items():
            weights[name].copy_(weight)
    log.info(
        "tuned the judge: label loss %.3f -> %.3f", curves.loss[0], np.mean(curves.loss[-max(1, per_epoch // 4) :])
    )
    return curves, curves.best_epoch() if best else tune.epochs


def _update(
    model: Any,
    tokenizer: PromptTokenizer,
    prompts: LabelledPrompts,
    rows: np.ndarray,
    optimiser: torch.optim.Optimizer,
    batch: int,
) -> tuple[float, float]:
    """One optimiser step on these rows, in forward passes of up to ``batch`` prompts.

    Returns:
        Mean loss and accuracy of the rows, before the step.
    """
    model.train()
    optimiser.zero_grad()
    rows = np.array(sorted(rows, key=lambda row: len(prompts.ids[row])))  # less padding
    loss, correct = 0.0, 0
    for part in np.array_split(rows, -(-len(rows) // batch)):
        logits, target = _answers(model, tokenizer, prompts, part)
        part_loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum") / len(rows)
        part_loss.backward()
        loss += part_loss.item()
        correct += int((logits.argmax(1) == target).sum())
    torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()
    return loss, correct / len(rows)


@torch.no_grad()
def label_loss(model: Any, tokenizer: PromptTokenizer, prompts: LabelledPrompts, batch: int) -> float:
    """Mean cross-entropy (nats) of the correct labels over the whole vocabulary, without dropout."""
    model.eval()
    order = np.array(sorted(range(len(prompts.ids)), key=lambda row: len(prompts.ids[row])))
    total = 0.0
    for part in np.array_split(order, -(-len(order) // batch)):
        total += torch.nn.functional.cross_entropy(*_answers(model, tokenizer, prompts, part), reduction="sum").item()
    return total / len(order)


def _answers(
    model: Any, tokenizer: PromptTokenizer, prompts: LabelledPrompts, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(B, vocabulary) float32`` of the next token, and the correct tokens ``(B,)``."""
    inputs = tokenizer.pad([prompts.ids[row] for row in rows], model.device)
    logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    return logits, torch.from_numpy(prompts.answers[rows]).to(model.device)


def _finite(loss: float, updates: int) -> float:
    if not math.isfinite(loss):
        problem = f"the tuning has diverged: the label loss is {loss} after {updates} updates"
        raise InputError(
            "judge.tune.learning_rate", problem, "a smaller learning rate, or judge.dtype other than float16"
        )
    return loss


@dataclass(frozen=True)
class Checkpoint:
    """State of a tuning run in one safetensors file. A resumed run has the same result as an uninterrupted one.

    The file holds the adapter's current and best weights, AdamW's moments, torch's random generators (for dropout) and
    the learning curves, whose lengths tell the progress. Learning rate and order of the prompts follow from it.

    Attributes:
        path: the file, written atomically.
        fingerprint: of model, data and settings; a file with a different fingerprint is ignored.
    """

    path: Path
    fingerprint: str

    def up_to_date(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                return (file.metadata() or {}).get("fingerprint") == self.fingerprint
        except SafetensorError as error:
            log.warning("%s is damaged (%s): restarting the tuning", self.path, error)
            return False

    def save(
        self,
        curves: Curves,
        weights: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Write the file.

        Args:
            curves: learning curves so far.
            weights: name -> trainable parameter.
            best: name -> weight of the best epoch; empty if there is none.
            optimiser: AdamW, whose moments are saved.
        """
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        tensors |= {f"weights/{name}": weight.detach() for name, weight in weights.items()}
        tensors |= {f"best/{name}": weight for name, weight in best.items()}
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{name}": value for name, value in moments.items()}
        metadata = {"fingerprint": self.fingerprint, "curves": json.dumps(asdict(curves))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, partial(save_file, tensors, metadata=metadata))

    @torch.no_grad()
    def restore(
        self, weights: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer
    ) -> tuple[Curves, dict[str, torch.Tensor]]:
        """Restore weights, optimiser and random generators in place.

        Returns:
            The learning curves, and the best epoch's weights.
        """
        with safe_open(self.path, "pt") as file:
            curves = Curves(**json.loads(file.metadata()["curves"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        for name, weight in weights.items():
            weight.copy_(tensors[f"weights/{name}"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, index, moment = name.split("/")
                state.setdefault(int(index), {})[moment] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random/cuda"])
        return curves, {
            name.removeprefix("best/"): value for name, value in tensors.items() if name.startswith("best/")
        }
