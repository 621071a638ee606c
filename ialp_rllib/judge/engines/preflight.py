"""Checks of a judge's model that need neither its weights in memory nor an engine nor Ray."""

from __future__ import annotations

from ialp_rllib.judge.engines import convert
from ialp_rllib.judge.engines.choose import engine_name
from ialp_rllib.judge.engines.models import adapter_base, check_weights, resolve_model
from ialp_rllib.judge.engines.sources import find_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.engines.vectors import find_encoder
from ialp_rllib.judge.prompt.labels import answer_format
from ialp_rllib.settings import EMBEDDING, LLM, JudgeSettings, parse_judge_model


def check_model(judge: JudgeSettings, model: str = "") -> None:
    """Find what is wrong with `judge.model` within seconds: files, architecture, names and shapes of the weights,
    tokenizer, labels, chat template; of an adapter its base model; of an embedding its folder. Others pass.

    The values of the weights are checked when an engine loads them. An adapter or a GGUF file is not converted yet.

    Args:
        judge: the judge's settings.
        model: instead of ``judge.model``.

    Raises:
        InputError: the engine is not installed, or the model cannot be used.
    """
    name = model or judge.model
    kind_of_judge, folder = parse_judge_model(name)
    if kind_of_judge == EMBEDDING:
        find_encoder(folder)
    if kind_of_judge != LLM:
        return
    engine_name(judge)
    path, kind = find_model(name)
    if path is not None and kind == "gguf":
        convert.check_gguf(path)
        return
    name = adapter_base(path) if path is not None and kind == "adapter" else resolve_model(name)
    check_weights(name, judge.dtype, values=False)
    if kind != "adapter":  # which may bring a tokenizer of its own
        PromptTokenizer(judge, answer_format(judge.candidates), name)
