"""The stages of `ialp lea`, after `prepare`, which they share with `ialp run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.vectors import encoder_content
from ialp_rllib.settings import EMBEDDING, LLM, Settings, parse_judge_model
from ialp_rllib.stages.content import model_content
from ialp_rllib.stages.depends import always
from ialp_rllib.stages.lea.rows import asks_neighbours, environments_of, rows_of
from ialp_rllib.stages.spec import StageSpec
from ialp_rllib.storage import MANIFEST

PART_FILES = (
    *("ranks.parquet", "curve.json", "recommender.safetensors", "config.json", "progress.json"),
    *("checkpoint-*/state.json", "checkpoint-*/learner.safetensors", "checkpoint-*/training.safetensors"),
    f"checkpoint-*/{MANIFEST}",
)
"""What a row and seed of stage ``recommend`` writes."""
ADAPTER_FILES = ("adapters.safetensors", "checkpoint/**")
"""What an environment leaves in stage ``environment``."""
AUGMENTED_FILES = ("part-*.parquet", "part-*.safetensors")
"""What an environment leaves in stage ``augment``."""


def model_settings(settings: Settings) -> list[Any]:
    """What all that the LLM says depends on."""
    return [_llm_content(settings), settings.lea.dtype, settings.catalogue.attributes, settings.seeds[0]]


def row_settings(settings: Settings, name: str) -> list[Any]:
    """What a row of stage ``recommend`` depends on beside the stages before it."""
    row = next(row for row in rows_of(settings.lea) if row.name == name)
    trained = row.settings(settings.lea.offline) if row.objective else settings.lea.offline.neighbours
    text = (text_encoder(settings) or f"{LLM}:{_llm_content(settings)}") if row.states == "text" else ""
    return [row, trained, text]


def text_encoder(settings: Settings) -> str:
    """The content of ``lea.text_encoder``, where it is an encoder of texts; else empty."""
    kind, folder = parse_judge_model(settings.lea.text_encoder)
    return encoder_content(folder) if kind == EMBEDDING and folder else ""


def _llm_content(settings: Settings) -> str:
    with naming_lea_model():
        return model_content(settings.lea.model)


@contextmanager
def naming_lea_model() -> Iterator[None]:
    """Errors about a model name the setting ``lea.model``, not that of the judge."""
    try:
        yield
    except InputError as error:
        raise InputError(error.where.replace("judge.model", "lea.model"), error.problem, error.expected) from error


def _recommend_needs(settings: Settings) -> tuple[str, ...]:
    return ("prepare", *(("augment",) if environments_of(settings.lea) else ()))


def adapter_settings(settings: Settings) -> Any:
    """What the adapters depend on beside the stages before them."""
    return replace(settings.lea.environment, checkpoint_every=1, max_skipped=0)


LEA_STAGES = {
    "tokens": StageSpec(
        always("prepare"),
        lambda s: [*model_settings(s), s.lea.tokens, "with initial ones"],
        ("tokens.safetensors", "group-*.safetensors", "checkpoint/**"),
        module="ialp_rllib.stages.lea.tokens",
    ),
    "environment": StageSpec(
        always("prepare", "tokens"),
        lambda s: [adapter_settings(s), environments_of(s.lea), text_encoder(s)],
        tuple(f"*/{name}" for name in (*ADAPTER_FILES, MANIFEST)),
        in_parts=True,
        module="ialp_rllib.stages.lea.environment",
    ),
    "augment": StageSpec(
        always("prepare", "tokens", "environment"),
        lambda s: [s.lea.augment, s.lea.offline.neighbours if asks_neighbours(s.lea) else None],
        tuple(f"*/{name}" for name in (*AUGMENTED_FILES, MANIFEST)),
        in_parts=True,
        module="ialp_rllib.stages.lea.augment",
    ),
    "recommend": StageSpec(
        _recommend_needs,
        lambda s: [*(row_settings(s, row.name) for row in rows_of(s.lea)), s.seeds],
        tuple(f"*/seed-*/{name}" for name in (*PART_FILES, MANIFEST)),
        in_parts=True,
        module="ialp_rllib.stages.lea.recommend",
    ),
    "ranking": StageSpec(
        always("prepare", "recommend"),
        lambda s: [s.scenario],
        ("index.html", "cases.parquet", "differences.parquet"),
        module="ialp_rllib.report.lea.stage",
    ),
}
