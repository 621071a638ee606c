"""From a label to an action and a reward: Eqs. 2 and 3 of the iALP paper (Wang et al., WSDM 2025)."""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.engines import Engine, make_engine
from ialp_rllib.judge.models import resolve_model
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)


class Answers(NamedTuple):
    """What the judge answered to a batch of prompts.

    Attributes:
        label: ``(B,) int8``, the place of the chosen candidate, k for None.
        item: ``(B,) int32``, the action: the chosen candidate, or for None one of the k at random (Eq. 2).
        reward: ``(B,) float32``, 1 for a candidate, 0 for None (Eq. 3).
        logprobs: ``(B, k + 1) float32``, log-probabilities of the labels, the None label last.
        outside: how many replies lay outside the labels; they count as None.
    """

    label: np.ndarray
    item: np.ndarray
    reward: np.ndarray
    logprobs: np.ndarray
    outside: int


class Judge:
    """Plays the user: asks the LLM, reads its label.

    Args:
        engine: runs the LLM.
        builder: writes the prompts.
        seed: of the random item that stands for None.
    """

    def __init__(self, engine: Engine, builder: PromptBuilder, seed: int = 0) -> None:
        self.engine, self.builder, self.seed = engine, builder, seed

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Answers:
        """Let the user choose among candidates.

        Args:
            history: ``(B, L)`` items, the latest last, ``pad`` where there is none.
            candidates: ``(B, k)`` items, in the order in which they are lettered. LLMs prefer some letters: give
                them in random order.
        """
        logprobs = self.engine.label_logprobs(self.builder.build(history, candidates))
        return read_answers(logprobs, history, candidates, pad=self.builder.pad, seed=self.seed)

    def info(self) -> dict[str, str]:
        """Fingerprints of model and prompt, and the engine's name."""
        return {
            "model_fingerprint": self.engine.fingerprint,
            "prompt_fingerprint": self.builder.fingerprint,
            "engine": type(self.engine).__name__,
        }

    def close(self) -> None:
        """Give the model's memory back."""
        self.engine.close()


def read_answers(logprobs: np.ndarray, history: np.ndarray, candidates: np.ndarray, *, pad: int, seed: int) -> Answers:
    """Labels, actions and rewards from label log-probabilities ``(B, k + 1)``.

    .. math:: r^p = 1 [label \\ne None], \\quad a = c_{label} \\text{ or, for None, } a \\sim U(c_1 .. c_k)
    """
    k = candidates.shape[1]
    outside = ~np.isfinite(logprobs).any(1)
    label = np.where(outside, k, np.where(np.isnan(logprobs), -np.inf, logprobs).argmax(1))
    none = label == k
    place = np.where(none, 0, label)
    for row in np.nonzero(none)[0]:
        place[row] = random_place(history[row], candidates[row], pad=pad, seed=seed)
    if outside.any():
        log.warning("%d of %d replies lay outside the labels and count as None", outside.sum(), len(outside))
    return Answers(
        label=label.astype(np.int8),
        item=np.take_along_axis(candidates, place[:, None], 1)[:, 0].astype(np.int32),
        reward=(~none).astype(np.float32),
        logprobs=logprobs.astype(np.float32),
        outside=int(outside.sum()),
    )


def random_place(history: np.ndarray, candidates: np.ndarray, *, pad: int, seed: int) -> int:
    """A uniform place ``0 .. k - 1`` that depends on the prompt and the seed only, not on what was asked before."""
    parts = (np.array([seed]), history[history != pad], np.array([pad]), candidates)
    digest = hashlib.blake2b(np.concatenate(parts).astype("<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % len(candidates)


def local_judge(judge: JudgeSettings, catalogue: Catalogue, model: str, attributes: tuple[str, ...] = ()) -> Judge:
    """A judge in this process, without Ray.

    Args:
        judge: its settings.
        catalogue: what its prompts speak of.
        model: `tiny`, a folder, or a Hugging Face id.
        attributes: item attributes to show; empty: all.

    Raises:
        InputError: the engine is not installed; the model is not there; its labels are not single tokens.
    """
    builder = PromptBuilder(catalogue, judge, attributes)
    return Judge(make_engine(judge, builder, resolve_model(model)), builder, judge.seed)
