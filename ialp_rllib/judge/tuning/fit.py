"""The tuning loop: label cross-entropy, early stopping on held-out users, and a checkpoint to go on from."""

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
    """How a tuning went, so far.

    Attributes:
        loss: label cross-entropy of each update, before it.
        accuracy: share of the update's prompts whose most probable token, of the whole vocabulary, was the right label.
        held_out_loss: label cross-entropy of the held-out prompts after each pass.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)

    def best_pass(self) -> int:
        """The pass with the lowest held-out loss, from 1; the first of equals."""
        return int(np.argmin(self.held_out_loss)) + 1

    def enough(self, tune: TuneSettings) -> bool:
        """Whether the held-out loss has not fallen for ``early_stopping`` passes."""
        patience, passes = tune.early_stopping, len(self.held_out_loss)
        return patience > 0 and passes > 0 and passes - self.best_pass() >= patience


def fit(
    model: Any,
    tokens: PromptTokenizer,
    data: TuningData,
    judge: JudgeSettings,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None],
) -> tuple[Curves, int]:
    """Train what of ``model`` may be trained, from the checkpoint where there is one.

    The loss is the cross-entropy of the label at the prompts' last position, over the whole vocabulary, not over the
    labels only: what is taught is the format, so that an engine that cannot constrain its reply gets labels, too.
    An update averages over the prompts of ``accumulate`` forward passes, whatever their sizes. After each pass the
    held-out loss is measured; with ``early_stopping`` the model ends with the weights of its best pass.

    Returns:
        The curves, and which pass was kept, from 1.

    Raises:
        InputError: the loss is no finite number any more.
    """
    tune, n = judge.tune, len(data.train.ids)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(weights.values(), lr=tune.learning_rate, weight_decay=0.0)
    per_pass = -(-n // (tune.batch * tune.accumulate))
    total = tune.epochs * per_pass
    warmup = max(1.0, tune.warmup * total)
    curves = Curves()
    best: dict[str, torch.Tensor] = {}
    if checkpoint.up_to_date():
        curves, best = checkpoint.restore(weights, optimiser)
        log.info("tuning goes on after %d updates", len(curves.loss))
    for epoch in range(len(curves.loss) // per_pass, tune.epochs):
        if curves.enough(tune):
            break
        order = np.random.default_rng([judge.seed, 2, epoch]).permutation(n)
        for rows in np.array_split(order, per_pass)[len(curves.loss) % per_pass :]:
            optimiser.param_groups[0]["lr"] = tune.learning_rate * min(1.0, (len(curves.loss) + 1) / warmup)
            loss, accuracy = _update(model, tokens, data.train, rows, optimiser, tune.batch)
            curves.loss.append(_finite(loss, len(curves.loss)))
            curves.accuracy.append(accuracy)
            progress(len(curves.loss), total)
            if len(curves.loss) % tune.checkpoint_every == 0 and len(curves.loss) % per_pass:
                checkpoint.save(curves, weights, best, optimiser)
        if data.held_out.ids:
            curves.held_out_loss.append(_finite(label_loss(model, tokens, data.held_out, tune.batch), len(curves.loss)))
            if tune.early_stopping and curves.best_pass() == epoch + 1:
                best = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        checkpoint.save(curves, weights, best, optimiser)
    with torch.no_grad():
        for name, weight in best.items():
            weights[name].copy_(weight)
    log.info("tuned the judge: label loss %.3f -> %.3f", curves.loss[0], np.mean(curves.loss[-max(1, per_pass // 4) :]))
    return curves, curves.best_pass() if best else tune.epochs


def _update(
    model: Any,
    tokens: PromptTokenizer,
    prompts: LabelledPrompts,
    rows: np.ndarray,
    optimiser: torch.optim.Optimizer,
    batch: int,
) -> tuple[float, float]:
    """One step on these rows, ``batch`` at a time. Returns their mean loss and accuracy before it."""
    model.train()
    optimiser.zero_grad()
    rows = np.array(sorted(rows, key=lambda row: len(prompts.ids[row])))  # prompts of one length need no padding
    loss, right = 0.0, 0
    for part in np.array_split(rows, -(-len(rows) // batch)):
        logits, target = _answers(model, tokens, prompts, part)
        share = torch.nn.functional.cross_entropy(logits, target, reduction="sum") / len(rows)
        share.backward()
        loss += share.item()
        right += int((logits.argmax(1) == target).sum())
    torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()
    return loss, right / len(rows)


@torch.no_grad()
def label_loss(model: Any, tokens: PromptTokenizer, prompts: LabelledPrompts, batch: int) -> float:
    """Mean cross-entropy of the labels, over the whole vocabulary, without dropout."""
    model.eval()
    order = np.array(sorted(range(len(prompts.ids)), key=lambda row: len(prompts.ids[row])))
    total = 0.0
    for part in np.array_split(order, -(-len(order) // batch)):
        total += torch.nn.functional.cross_entropy(*_answers(model, tokens, prompts, part), reduction="sum").item()
    return total / len(order)


def _answers(
    model: Any, tokens: PromptTokenizer, prompts: LabelledPrompts, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(B, vocabulary) float32`` at the place of the answer, and the right tokens ``(B,)``."""
    inputs = tokens.pad([prompts.ids[row] for row in rows], model.device)
    logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    return logits, torch.from_numpy(prompts.answers[rows]).to(model.device)


def _finite(loss: float, updates: int) -> float:
    if not math.isfinite(loss):
        problem = f"the tuning diverged: the label loss is {loss} after {updates} updates"
        raise InputError("judge.tune.learning_rate", problem, "a smaller one, or judge.dtype other than float16")
    return loss


@dataclass(frozen=True)
class Checkpoint:
    """One safetensors file with all that a killed tuning needs to end as if it had not been killed.

    It holds the adapter now and of the best pass, AdamW's moments and torch's random generators (dropout), and the
    curves, whose lengths say how far the tuning is. Step size and order of the prompts follow from that.

    Attributes:
        path: of the file, written atomically.
        fingerprint: of model, data and settings; a checkpoint with another one is not used.
    """

    path: Path
    fingerprint: str

    def up_to_date(self) -> bool:
        """Whether there is one to go on from."""
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                return (file.metadata() or {}).get("fingerprint") == self.fingerprint
        except SafetensorError as error:
            log.warning("%s is damaged (%s): the tuning starts anew", self.path, error)
            return False

    def save(
        self,
        curves: Curves,
        weights: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        optimiser: torch.optim.Optimizer,
    ) -> None:
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
        """Put weights, optimiser and random generators back. Returns the curves and the best pass's weights."""
        with safe_open(self.path, "pt") as file:
            curves = Curves(**json.loads(file.metadata()["curves"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
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
