"""A judge whose engines are Ray actors."""

from __future__ import annotations

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.engines.choose import engine_name
from ialp_rllib.judge.engines.models import load_tokenizer, resolve_model
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.pool import EnginePool
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import AnswerFormat, label_tokens
from ialp_rllib.settings import JudgeSettings


def start_judge(judge: JudgeSettings, catalogue: Catalogue, model: str, attributes: tuple[str, ...] = ()) -> LLMJudge:
    """A judge whose engines are Ray actors, with the model loaded. Arguments and errors as :func:`local_judge`."""
    engine_name(judge.engine)
    model = resolve_model(model)
    builder = PromptBuilder(catalogue, judge, attributes)
    answers = AnswerFormat(builder.stem, builder.labels)
    label_tokens(load_tokenizer(model), answers.stem, answers.labels, model)  # here a mistake has a plain message
    return LLMJudge(EnginePool(judge, answers, model), catalogue, judge, attributes)
