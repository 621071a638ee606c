"""A judge for machines without a GPU, made from a scenario's own texts and log: tokenizer, model, training, measure."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import Tokens, tokens_of
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.judge.audit.audit import FRAMES
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tiny.curriculum import TaskSampler
from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.measure import accuracies, references
from ialp_rllib.judge.tiny.pieces import Pieces
from ialp_rllib.judge.tiny.tastes import Tastes, fit_tastes, token_vectors
from ialp_rllib.judge.tiny.tokenizer import catalogue_tokenizer
from ialp_rllib.judge.tiny.training import train
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings, fingerprint, to_dict
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.storage import Stage, write_json

CHECKPOINT, TRAINING = "checkpoint.pt", "training.json"
_KNOWN = 0.75  # of a token's numbers say what is known of it; one says how popular it is; the others are free
_LENGTH, _POPULARITY, _NOISE = 0.6, 0.2, 0.01  # of a start vector; of popularity in it; of the free numbers
_SPREAD = 0.05  # of the other weights; transformers' 0.02 never leaves chance at this size


def make_tiny_judge(
    settings: Settings, tiny: TinySettings, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Make a tiny judge for a scenario, or go on where a killed call with the same settings stopped.

    Leaves a folder in Hugging Face's layout (``MistralForCausalLM``, safetensors) that `judge.model` accepts, with
    ``training.json`` in it. Only the train users' logs are learnt from.

    Args:
        settings: of the scenario; its ``catalogue`` and the wording of its ``judge`` are read.
        tiny: of the training.
        out: the folder.
        progress: is told how far it is.

    Returns:
        What ``training.json`` says: settings, updates, seconds, and on held-out users the accuracy and what it is to be
        compared with (:func:`.measure.accuracies`, :func:`.measure.references`).

    Raises:
        InputError: the data cannot be used or are too few; ``out`` holds what is not ours.
    """
    progress = progress or Progress()
    if tiny.width % 64:
        raise InputError("width", f"is {tiny.width}", "a multiple of 64")
    began = time.perf_counter()
    catalogue, attributes = read_source(settings.catalogue), settings.catalogue.attributes
    judge = settings.judge
    builders = [PromptBuilder(catalogue, replace(judge, frame=i), attributes) for i in range(FRAMES)]
    _check(catalogue, settings)
    stage = Stage(out, "tiny judge", _fingerprint(catalogue, builders, settings, tiny))
    if stage.up_to_date():
        progress.up_to_date("tiny")
        manifest = stage.manifest()
        assert manifest is not None
        return dict(manifest["facts"])
    with progress.stage("tiny"), storage_errors(out):
        stage.open()
        words = _words(catalogue, attributes)
        train_log = TrainLog(catalogue, judge.min_rating)
        tastes = fit_tastes(train_log, words, judge.history, int(_KNOWN * tiny.width), tiny.seed)
        tokenizer = catalogue_tokenizer(catalogue, attributes, builders)
        pieces = Pieces(tokenizer, builders)
        tasks = TaskSampler(train_log, tastes, judge.history, tiny.none_share, tiny.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(tiny.seed)
            model = new_model(tokenizer, pieces, tastes, tiny)
            at = train(model, pieces, tasks, judge.candidates, tiny, out / CHECKPOINT, partial(_tell, progress))
        transformers_logging.disable_progress_bar()  # the command line draws its own
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        (out / "model.safetensors").chmod(0o644)  # written for the owner only
        facts = {
            "scenario": settings.scenario,
            "settings": to_dict(tiny),
            "candidates": judge.candidates,
            "history": judge.history,
            "parameters": model.num_parameters(),
            "tokens": len(tokenizer),
            "updates": at.update,
            "minutes": at.seconds / 60,
            "cpu_minutes": at.cpu_seconds / 60,
            "held_out": _measured(catalogue, settings, tiny, words, tastes, out),
        }
        write_json(out / TRAINING, facts)
        (out / CHECKPOINT).unlink(missing_ok=True)
        stage.finish(facts, time.perf_counter() - began)
    return facts


def _tell(progress: Progress, share: float) -> None:
    progress.update("training", round(1000 * share), 1000)


def new_model(
    tokenizer: PreTrainedTokenizerFast, pieces: Pieces, tastes: Tastes, tiny: TinySettings
) -> MistralForCausalLM:
    """A model whose tokens begin with what is known of them, and whose attention begins at what is alike."""
    config = MistralConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=tiny.width,
        intermediate_size=2 * tiny.width,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.width // 32,
        num_key_value_heads=tiny.width // 64,
        head_dim=32,
        max_position_embeddings=8192,
        sliding_window=None,
        tie_word_embeddings=True,
        initializer_range=_SPREAD,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = MistralForCausalLM(config)
    with torch.no_grad():
        _start_tokens(model.model.embed_tokens.weight, pieces, tastes)
        for layer in model.model.layers:  # a query meets the keys that are like it (Trockman & Kolter 2023)
            query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
            groups = len(query) // len(key)
            query.copy_(2 * key.view(-1, 32, tiny.width).repeat_interleave(groups, 0).reshape(query.shape))
    return model


def _start_tokens(table: torch.Tensor, pieces: Pieces, tastes: Tastes) -> None:
    """Fill the rows of tokens that stand in items. An item's first token is its own, as a rule: it gets its vector."""
    dim = tastes.vectors.shape[1]
    vectors = tastes.vectors / tastes.vectors.norm(dim=1).mean()
    shared = torch.from_numpy(token_vectors(pieces.items, vectors.numpy(), len(table)))
    known = shared.norm(dim=1) > 0
    first = torch.tensor([int(ids[0]) for ids in pieces.items])
    shared[first] = vectors
    popularity = (tastes.popularity - tastes.popularity.mean()) / tastes.popularity.std().clamp(min=1e-6)
    table[known] *= _NOISE / _SPREAD
    table[known, :dim] = _LENGTH * shared[known]
    table[first, dim] = _LENGTH * _POPULARITY * popularity


def _words(catalogue: Catalogue, attributes: tuple[str, ...]) -> Tokens:
    names = attributes or tuple(catalogue.item_texts)
    return tokens_of({name: catalogue.item_texts[name] for name in names} or {"id": catalogue.item_ids})


def _check(catalogue: Catalogue, settings: Settings) -> None:
    """Refuse before the training what would fail after it."""
    judge = settings.judge
    needed = judge.candidates + judge.history + 2
    if catalogue.n_items < needed:
        expected = f"{needed} or more: lower judge.candidates or judge.history"
        raise InputError("items", f"there are {catalogue.n_items}", expected)
    for users in (catalogue.train_users, catalogue.test_users):
        draw_examples(catalogue, users, 1, judge.candidates, 0.0, np.random.default_rng(0), min_rating=judge.min_rating)


def _fingerprint(catalogue: Catalogue, builders: list[PromptBuilder], settings: Settings, tiny: TinySettings) -> str:
    logged = hashlib.sha256()
    for column in (catalogue.user, catalogue.item, catalogue.rating, catalogue.split, catalogue.test_users):
        logged.update(np.ascontiguousarray(column).tobytes())
    prompts = [builder.fingerprint for builder in builders]
    tiny_there = to_dict(replace(tiny, threads=1, checkpoint_every=1))
    return fingerprint("tiny judge", prompts, logged.hexdigest(), settings.judge.min_rating, tiny_there)


def _measured(
    catalogue: Catalogue, settings: Settings, tiny: TinySettings, words: Tokens, tastes: Tastes, folder: Path
) -> dict[str, Any]:
    """Accuracy of the folder's model on test users, as an engine serves it."""
    found: dict[str, Any] = {}
    for name, none_share in (("all_with_the_true_item", 0.0), ("a_share_without", tiny.none_share)):
        examples = draw_examples(
            catalogue,
            catalogue.test_users,
            tiny.prompts,
            settings.judge.candidates,
            none_share,
            np.random.default_rng([tiny.seed, 3]),
            history=settings.judge.history,
            min_rating=settings.judge.min_rating,
        )
        found[name] = accuracies(examples, catalogue, settings, folder)
        if not none_share:
            found["compare"] = references(examples, catalogue, words, tastes)
    return found
