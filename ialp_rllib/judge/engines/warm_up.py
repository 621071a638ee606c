"""The first prompts of an engine: whether it can run the model at all, and whether padding changes its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.engines.protocol import Engine
from ialp_rllib.judge.engines.tokens import RAW, PromptTokenizer
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.judge.prompt.packed import PackedQuery

# Of a log-probability. What is computed in 16 bits is rounded otherwise in another batch.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


class RunningEngine(Engine, Protocol):
    """An engine that runs a model of its own.

    Attributes:
        prompt_tokenizer: the model's tokenizer.
    """

    prompt_tokenizer: PromptTokenizer


class EngineError(InputError):
    """An engine cannot run a model that another engine might run."""


def warm_up(engine: RunningEngine, answers: LabelFormat, model: str) -> None:
    """Ask one prompt: of letters, if the labels are tokens of the model.

    Raises:
        InputError: the engine cannot run the model (:class:`EngineError`), or its answer is not finite.
    """
    name, expected = type(engine).__name__.removesuffix("Engine"), "judge.engine=transformers, or another model"
    try:
        if engine.prompt_tokenizer.labels:
            output = engine.ask([answers.stem])
        else:
            output = engine.ask([PackedQuery(answers.stem, (" a", " b c"))], RAW)
    except IalpError:
        raise
    except Exception as error:  # raised by a library, on the first use of what the model is made of
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        problem = f"the {name} engine cannot run it ({reason[:200]})"
        if name == "Transformers":
            expected = "another model, or another version of transformers"
        raise EngineError(f"judge.model {model}", problem, expected) from error
    if output.refused:
        raise InputError(f"judge.model {model}", f"its first prompt is refused: {output.refused[0]}", "another model")
    if not np.isfinite(output.logprobs).all():
        problem = f"the {name} engine gives probabilities that are not numbers"
        raise InputError(f"judge.model {model}", problem, "weights that are finite, or another judge.dtype")


def pads_exactly(
    scores: Callable[[list[list[int]], list[int]], np.ndarray],
    answers: LabelFormat,
    tokenizer: PromptTokenizer,
    dtype: str,
) -> bool:
    """Whether a prompt has the same answer beside a longer one, for which it is padded, as alone.

    Not every architecture ignores padded positions.

    Args:
        scores: token ids of B prompts, ids of the labels -> log-probabilities ``(B, k + 1)``, as one batch.
        answers: answer stem and labels.
        tokenizer: the model's tokenizer.
        dtype: precision of the weights.
    """
    short, long = tokenizer.encode([answers.stem, answers.stem * 2])
    if len(short) == len(long) or len(long) > tokenizer.max_tokens:
        return False
    alone, beside = scores([short], tokenizer.labels)[0], scores([long, short], tokenizer.labels)[1]
    return bool(np.allclose(alone, beside, atol=_TOLERANCE[dtype]))
