"""Start of an LLM judge with its engines in Ray actors."""

from __future__ import annotations

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.engines.choose import engine_name
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.pool import EnginePool
from ialp_rllib.judge.prompt.labels import answer_format
from ialp_rllib.settings import JudgeSettings


def start_judge(
    judge: JudgeSettings,
    catalogue: Catalogue,
    model: str,
    attributes: tuple[str, ...] = (),
    calibration: Calibration | None = None,
) -> LLMJudge:
    """A judge with ``judge.replicas`` engines in Ray actors. Returns once the model is loaded.

    Args:
        judge: the judge's settings.
        catalogue: items and their texts.
        model: `tiny`, a model folder, or a Hugging Face model id.
        attributes: item attributes shown in the prompt; empty: all.
        calibration: of the answer form, fitted earlier; None: none.

    Raises:
        InputError: the engine is not installed, the model cannot be loaded or run, or its tokenizer splits a label into
            several tokens.
    """
    engine_name(judge)
    answers = answer_format(judge.candidates)
    PromptTokenizer(judge, answers, resolve_model(model))  # fail here rather than in an actor, and convert once
    return LLMJudge(EnginePool(judge, answers, model), catalogue, judge, attributes, calibration)
