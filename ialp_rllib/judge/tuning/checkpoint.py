"""Progress of a tuning run: its learning curves, and the checkpoint from which it resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ialp_rllib.judge.tuning.lesson import Loop
from ialp_rllib.storage import SealedFile


@dataclass
class Curves:
    """Learning curves of a tuning run.

    Attributes:
        loss: mean loss (nats) of the terms of each update, before it.
        accuracy: fraction of these terms that are answered right: tokens that are the most probable ones of the whole
            vocabulary, or comparisons of a chosen item with another one.
        held_out_loss: the same loss of what is held out, after each epoch.
        attempted: number of updates so far, skipped ones included.
        skipped_updates: the updates, counted from 1, at which loss or gradient was not finite.
        micro_batch: rows per forward pass: ``batch``, or fewer once memory ran out; 0: none yet.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    attempted: int = 0
    skipped_updates: list[int] = field(default_factory=list)
    micro_batch: int = 0

    @property
    def learning_rate_factor(self) -> float:
        """1, halved by each skipped update."""
        return float(0.5 ** len(self.skipped_updates))

    def best_epoch(self) -> int:
        """The first epoch with the lowest held-out loss, counted from 1."""
        return int(np.argmin(self.held_out_loss)) + 1

    def should_stop(self, loop: Loop) -> bool:
        """Whether the held-out loss has not improved for ``early_stopping`` epochs."""
        patience, epochs = loop.early_stopping, len(self.held_out_loss)
        return patience > 0 and epochs > 0 and epochs - self.best_epoch() >= patience


class Checkpoint:
    """State of a tuning run in a safetensors file. A resumed run has the same result as an uninterrupted one.

    The file holds the adapter's current, previous and best weights, AdamW's moments, torch's random generators (for
    dropout) and the learning curves, which tell the progress. Learning rate and order of the prompts follow from it.

    Args:
        path: of the file, see :class:`ialp_rllib.storage.SealedFile`.
        fingerprint: of model, data and settings; a file with a different fingerprint is ignored.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._file = SealedFile(path)

    def newest(self) -> Path | None:
        """The newest intact file to resume from."""
        for path in self._file.intact():
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("fingerprint") == self.fingerprint:
                    return path
        return None

    def remove(self) -> None:
        """Delete the files: the tuning has ended."""
        self._file.remove()

    def save(
        self,
        curves: Curves,
        weights: dict[str, torch.Tensor],
        previous: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Write the file.

        Args:
            curves: learning curves so far.
            weights: name -> trainable parameter.
            previous: name -> weight before the last update; empty if there was none.
            best: name -> weight of the best epoch; empty if there is none.
            optimiser: AdamW, whose moments are saved.
        """
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        tensors |= {f"weights/{name}": weight.detach() for name, weight in weights.items()}
        tensors |= {f"previous/{name}": weight for name, weight in previous.items()}
        tensors |= {f"best/{name}": weight for name, weight in best.items()}
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{name}": value for name, value in moments.items()}
        metadata = {"fingerprint": self.fingerprint, "curves": json.dumps(asdict(curves))}
        self._file.write(partial(save_file, tensors, metadata=metadata))

    @torch.no_grad()
    def restore(
        self, path: Path, weights: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer
    ) -> tuple[Curves, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Restore weights, optimiser and random generators in place from the file that :meth:`newest` named.

        Returns:
            The learning curves, the weights before the last update, and those of the best epoch.
        """
        with safe_open(path, "pt") as file:
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
        return curves, _below(tensors, "previous/"), _below(tensors, "best/")


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
