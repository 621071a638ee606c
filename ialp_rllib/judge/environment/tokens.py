r"""Item tokens: one input vector of the LLM per item, learnt to let the frozen LLM generate the item's text.

.. math:: L(i) = -\frac{1}{L} \sum_l \log p(w_l \mid i^e, w_{<l})

A vector begins as the mean of the input vectors of its text's tokens, less the mean over all items, rescaled to the
mean length of an input vector: means alone are several times too short, and all point one way. The vectors are one
matrix in a file of its own. In the vocabulary they would be tied into the output layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ialp_rllib.judge.tuning.checkpoint import Checkpoint
from ialp_rllib.judge.tuning.fit import fit
from ialp_rllib.judge.tuning.lesson import Course, Steps, mean_of
from ialp_rllib.settings import ItemTokenSettings
from ialp_rllib.storage import write_atomic
from ialp_rllib.storage.tensors import read_tensors

log = logging.getLogger(__name__)

GROUP = 256
"""Items that are learnt together, from one checkpoint; each item has a step per update."""
MEASURED = 256
"""Items whose texts are measured at most."""
_NAME, _STEPS = "tokens", "steps"


def encode_texts(tokenizer: Any, texts: Sequence[str], length: int) -> list[list[int]]:
    """Token ids of each text, at least one and at most ``length``."""
    return [tokenizer.encode(text, add_special_tokens=False)[:length] or [0] for text in texts]


@torch.no_grad()
def initial_tokens(model: Any, ids: Sequence[list[int]]) -> Tensor:
    """``(I, d) float32``: centred means of the texts' input vectors, with the mean length of an input vector."""
    table = model.get_input_embeddings().weight.detach().float().cpu()
    offsets = torch.tensor(np.cumsum([0, *map(len, ids[:-1])]))
    means = F.embedding_bag(torch.tensor([t for row in ids for t in row]), table, offsets, mode="mean")
    means = means - means.mean(0)
    return means * (table.norm(dim=1).mean() / means.norm(dim=1, keepdim=True).clamp(min=1e-9))


class TokenLesson(nn.Module):
    """Items' vectors and the text that each is to generate: see :class:`ialp_rllib.judge.tuning.lesson.Lesson`.

    Args:
        model: the causal language model; it is not trained.
        vectors: ``(n, d)`` the vectors to begin with.
        ids: token ids of the n texts.

    Attributes:
        steps: ``(n, d)``, what is learnt, in units of ``scale``.
        scale: root mean square of the elements of an input vector.
    """

    def __init__(self, model: Any, vectors: Tensor, ids: Sequence[list[int]]) -> None:
        super().__init__()
        self._outside = [model]  # no part of this module: it stays in evaluation mode
        table = model.get_input_embeddings().weight
        self.scale = float(table.detach().float().square().mean().sqrt())
        self.register_buffer("start", vectors.to(table.device))
        self.steps = nn.Parameter(torch.zeros_like(vectors, device=table.device))
        self._ids = list(ids)
        self._losses = np.zeros(len(self._ids))  # a pass that memory ran out in is repeated: by item, none counts twice

    def vectors(self) -> Tensor:
        """``(n, d)``, the vectors now."""
        return cast(Tensor, self.start) + self.scale * self.steps

    def of_pass(self, epoch: int) -> TokenLesson:
        """Itself: all passes are alike."""
        self._losses[:] = 0.0
        return self

    @property
    def mean_loss(self) -> float:
        """Loss per text token of the pass so far, before its step."""
        return float(self._losses.sum()) / self.terms(np.arange(len(self)))

    def __len__(self) -> int:
        return len(self._ids)

    def terms(self, rows: np.ndarray) -> int:
        """Number of text tokens."""
        return sum(len(self._ids[row]) for row in rows)

    def parts(self, rows: np.ndarray, batch: int) -> list[np.ndarray]:
        """The rows in order of length, which saves padding."""
        rows = np.array(sorted(rows, key=lambda row: len(self._ids[row])))
        return np.array_split(rows, -(-len(rows) // batch))

    def summed_loss(self, rows: np.ndarray) -> tuple[Tensor, float]:
        """Sum of -log p of the texts' tokens (nats), and how many are the most probable ones."""
        model, vectors = self._outside[0], self.vectors()[torch.from_numpy(rows)]
        ids = [torch.tensor(self._ids[row]) for row in rows]
        target = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100).to(vectors.device)
        table = model.get_input_embeddings()
        inputs = torch.cat([vectors[:, None].to(table.weight.dtype), table(target[:, :-1].clamp(min=0))], 1)
        logits = model(inputs_embeds=inputs, attention_mask=(target >= 0).long(), use_cache=False).logits.float()
        held = target >= 0
        logits, target = logits[held], target[held]
        losses = F.cross_entropy(logits, target, reduction="none")
        self._losses[rows] = np.bincount(np.nonzero(held.cpu().numpy())[0], losses.detach().cpu().numpy(), len(rows))
        return losses.sum(), float((logits.argmax(1) == target).sum())


class Plateau:
    """The loss that a pass began with, in place of a held-out one, at no cost: each item is learnt for itself, so that
    others say nothing about it.

    Args:
        lesson: whose loss it is.
        gain: smaller differences (nats per token) are none.
    """

    def __init__(self, lesson: TokenLesson, gain: float) -> None:
        self._lesson, self._gain = lesson, gain

    def __len__(self) -> int:
        return 1

    def terms(self, rows: np.ndarray) -> int:
        """See :class:`ialp_rllib.judge.tuning.lesson.Lesson`."""
        return 1

    def parts(self, rows: np.ndarray, batch: int) -> list[np.ndarray]:
        """See :class:`ialp_rllib.judge.tuning.lesson.Lesson`."""
        return [rows]

    def summed_loss(self, rows: np.ndarray) -> tuple[Tensor, float]:
        """The loss in steps of ``gain``; nothing is computed."""
        loss = self._lesson.mean_loss
        return torch.tensor(loss // self._gain * self._gain if np.isfinite(loss) else loss), 0.0


def learn_tokens(
    model: Any,
    ids: Sequence[list[int]],
    order: np.ndarray,
    settings: ItemTokenSettings,
    seed: int,
    folder: Path,
    print_: str,
    progress: Callable[[int, int], None],
) -> tuple[Tensor, dict[str, Any]]:
    """The vectors of all items, of which some are learnt; a killed call resumes within a group of items.

    Args:
        model: the causal language model, in evaluation mode, whose parameters need no gradient.
        ids: token ids of the I texts.
        order: items, those to learn first; ``settings.trained`` of them are.
        settings: how.
        seed: of the order within a group.
        folder: for groups that are done, and checkpoints.
        print_: fingerprint of all that the result depends on.
        progress: called with the number of updates done and in total.

    Returns:
        ``(I, d) float32``; and facts: losses per text token (nats) before (``start``), after (``end``) and with another
        item's vector (``other``), of up to :data:`MEASURED` of the learnt items; and ``steps``, the mean over learnt
        items.
    """
    start = initial_tokens(model, ids)
    tokens = start.clone()
    trained = order if settings.trained < 0 else order[: settings.trained]
    trained = trained if settings.steps else trained[:0]
    groups = np.array_split(trained, -(-len(trained) // GROUP)) if len(trained) else []
    steps = 0.0
    for number, group in enumerate(groups):
        path = folder / f"group-{number}.safetensors"
        if not path.is_file():
            lesson = TokenLesson(model, start[group], [ids[item] for item in group])
            done = number * settings.steps
            passes = _learn(
                lesson,
                settings,
                seed + number,
                Checkpoint(folder / "checkpoint" / f"group-{number}.safetensors", f"{print_}-{number}"),
                lambda part, _, done=done: progress(done + part, len(groups) * settings.steps),  # type: ignore[misc]
            )
            found = lesson.vectors().detach().cpu().contiguous()
            write_atomic(path, partial(save_file, {_NAME: found, _STEPS: torch.tensor(passes)}))
        saved = read_tensors(path, (_NAME, _STEPS))
        tokens[group] = saved[_NAME]
        steps += float(saved[_STEPS]) * len(group) / len(trained)
    facts = {"trained": len(trained), "steps": steps}
    return tokens, {**facts, **_measured(model, ids, trained if len(trained) else order, start, tokens)}


def _learn(
    lesson: TokenLesson,
    settings: ItemTokenSettings,
    seed: int,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None],
) -> int:
    """Learn a group of items; the number of steps taken."""
    accumulate = -(-len(lesson) // settings.batch)  # one update per pass: a step for each item
    loop = Steps(
        settings.learning_rate, settings.steps, settings.batch, accumulate, warmup=0.0,
        early_stopping=settings.patience, checkpoint_every=1, max_skipped=5,
    )  # fmt: skip
    stop_by = Plateau(lesson, settings.gain) if settings.patience else None
    course = Course(lesson.of_pass, stop_by, settings="lea.tokens")
    curves, _ = fit(lesson, course, loop, seed, checkpoint, progress)
    checkpoint.remove()
    return curves.attempted


@torch.no_grad()
def _measured(
    model: Any, ids: Sequence[list[int]], items: np.ndarray, start: Tensor, tokens: Tensor
) -> dict[str, float]:
    some = items[:MEASURED]
    texts, rows = [ids[item] for item in some], np.arange(len(some))
    lessons = {name: TokenLesson(model, table[some], texts) for name, table in (("start", start), ("end", tokens))}
    found = {f"nll_{name}": mean_of(lesson, lesson, 16) for name, lesson in lessons.items()}
    wrong = TokenLesson(model, tokens[np.roll(some, 1)], texts)
    return {**found, "nll_other": mean_of(wrong, wrong, 16), "measured": len(rows)}
