"""What the stages of `ialp lea` share: the log to learn from, the LLM, the environments, and what a stage cost."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue.ranking_split import Cases, RankingSplit, held_out_users
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_config, load_model, load_tokenizer, resolve_model
from ialp_rllib.judge.environment.backbones import GRUBackbone, LLMBackbone, adapters_size
from ialp_rllib.judge.environment.fit import ADAPTERS
from ialp_rllib.judge.environment.model import Environment
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.lea.rows import LLM_ENVIRONMENT, LLM_FREE
from ialp_rllib.stages.lea.specs import ADAPTER_FILES, AUGMENTED_FILES, adapter_settings, naming_lea_model
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage
from ialp_rllib.storage.tensors import read_tensors

TOKENS, INITIAL = "tokens.safetensors", "initial"
"""File of the item tokens, and the name in it of those before they learnt."""
TITLES = {LLM_ENVIRONMENT: "LLM environment", LLM_FREE: "Control without an LLM"}
"""The environments, as progress names them."""


def learnt_part(run: RunFolder, name: str) -> Stage:
    """The part of an environment in stage ``environment``."""
    before = run.fingerprints.before("environment")
    print_ = fingerprint("environment", before, adapter_settings(run.settings), name)
    return Stage(run.root / "environment" / name, f"environment {name}", print_, ADAPTER_FILES)


def augmented_part(run: RunFolder, name: str) -> Stage:
    """The part of an environment in stage ``augment``."""
    print_ = fingerprint("augment", learnt_part(run, name).fingerprint, run.settings.lea.augment)
    return Stage(run.root / "augment" / name, f"augment {name}", print_, AUGMENTED_FILES)


def facts_of(part: Stage) -> dict[str, Any]:
    """What a finished part reported."""
    manifest = part.manifest()
    assert manifest is not None, "its stage finished it"
    facts: dict[str, Any] = manifest["facts"]
    return facts


def split_of(run: RunFolder) -> RankingSplit:
    """Train users' sequences, and all positions of validation and test users.

    Raises:
        InputError: a group of users has no two interactions.
    """
    split = held_out_users(run.catalogue, "every")
    if not len(split.valid):
        raise InputError("catalogue.valid_share", "leaves no validation case", "more validation users")
    return split


def sequences_of(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """First rows and ends of the sequences that cases are about, ``(S,)`` each, in order."""
    start, index = np.unique(cases.start, return_inverse=True)
    end = np.zeros(len(start), np.int64)
    np.maximum.at(end, index, cases.stop + 1)
    return start, end


def language_model(settings: Settings) -> tuple[Any, Any]:
    """The LLM of ``lea.model``, frozen and in evaluation mode, and its tokenizer.

    Raises:
        InputError: it cannot be loaded.
    """
    with naming_lea_model():
        folder = resolve_model(settings.lea.model)
        model, tokenizer = load_model(folder, settings.lea.dtype), load_tokenizer(folder)
    return model.requires_grad_(False).to(_device(settings)), tokenizer


def language_config(settings: Settings) -> Any:
    """The configuration of the LLM of ``lea.model``; no weights are read."""
    with naming_lea_model():
        return load_config(resolve_model(settings.lea.model))


def _device(settings: Settings) -> str:
    return "cuda" if settings.lea.gpu and torch.cuda.is_available() else "cpu"


def new_environment(run: RunFolder, name: str) -> Environment:
    """An environment before it has learnt: that of the LLM, or the control without one, of the same size."""
    settings = run.settings
    adapters, seed, separate = (
        settings.lea.environment,
        settings.seeds[0],
        settings.lea.environment.adapters == "separate",
    )
    tokens = read_tensors(run.root / "tokens" / TOKENS, ("tokens",))["tokens"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name == LLM_FREE:
            size = adapters_size(language_config(settings), adapters)
            backbone: torch.nn.Module = GRUBackbone(tokens.shape[1], size, adapters.dropout, separate)
            tokens = torch.randn(tokens.shape)
        else:
            backbone = LLMBackbone(language_model(settings)[0], adapters)
        device = _device(settings)
        return (
            Environment(backbone, tokens, adapters.width, adapters.residual, separate, adapters.similar)
            .to(device)
            .eval()
        )


def learnt_environment(run: RunFolder, name: str) -> Environment:
    """An environment as stage ``environment`` left it."""
    model = new_environment(run, name)
    path = learnt_part(run, name).folder / ADAPTERS
    model.load(read_tensors(path, model.trained()))
    return model


class Cost:
    """What a stage costs from now on, in this process."""

    def __init__(self) -> None:
        self._cpu = time.process_time()

    def facts(self) -> dict[str, float]:
        """CPU-minutes, and the largest memory of the process so far, in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"cpu_minutes": (time.process_time() - self._cpu) / 60, "peak_bytes": peak}
