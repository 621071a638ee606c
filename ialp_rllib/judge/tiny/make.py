"""Making of a tiny judge from a scenario's own texts and log: tokenizer, model, training, evaluation."""

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
from ialp_rllib.judge.tiny.measure import accuracies, baselines
from ialp_rllib.judge.tiny.next_item import NextItemModel, fit_next_item_model, token_vectors
from ialp_rllib.judge.tiny.pieces import PromptPieces
from ialp_rllib.judge.tiny.tokenizer import catalogue_tokenizer
from ialp_rllib.judge.tiny.training import train
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings, fingerprint, to_dict
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.storage import SealedFile, Stage, write_json

CHECKPOINT, TRAINING = "checkpoint.pt", "training.json"
_FILES = (
    *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "chat_template.jinja", TRAINING, "checkpoint-*.pt"),
)
# Initial token embeddings: a fraction of the dimensions holds the item vector, one dimension the item's popularity, and
# the others noise.
_VECTOR_DIMENSIONS = 0.75
_VECTOR_NORM, _POPULARITY_SCALE, _NOISE = 0.6, 0.2, 0.01
_INITIALIZER_RANGE = 0.05  # all other weights; with transformers' 0.02 a model of this size stays at chance


def make_tiny_judge(
    settings: Settings, tiny: TinySettings, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Train a tiny judge for a scenario, or resume an interrupted call with the same settings.

    Writes a model folder in Hugging Face's layout (``MistralForCausalLM``, safetensors) that `judge.model` accepts,
    with ``training.json`` in it. It is trained on the visible log only (:meth:`.Catalogue.visible`).

    Args:
        settings: the scenario's settings; its ``catalogue`` and the wording of its ``judge`` are used.
        tiny: settings of the training.
        out: the model folder.
        progress: receives the number of updates done.

    Returns:
        The content of ``training.json``: settings, updates, minutes, and the accuracy on validation users beside that
        of baselines (:func:`.measure.accuracies`, :func:`.measure.baselines`). A judge at chance is written as well:
        ``facts["held_out"]["all_with_the_true_item"]["above_chance"]`` is then false.

    Raises:
        InputError: the data cannot be used or are too few, or ``out`` contains files of something else.
    """
    progress = progress or Progress()
    if tiny.width % 64:
        raise InputError("width", f"is {tiny.width}", "a multiple of 64")
    began = time.perf_counter()
    catalogue, attributes = read_source(settings.catalogue), settings.catalogue.attributes
    judge = settings.judge
    builders = [PromptBuilder(catalogue, replace(judge, frame=i), attributes) for i in range(FRAMES)]
    _check(catalogue, settings)
    stage = Stage(out, "tiny judge", _fingerprint(catalogue, builders, settings, tiny), _FILES)
    if stage.up_to_date():
        progress.up_to_date("tiny")
        manifest = stage.manifest()
        assert manifest is not None
        return dict(manifest["facts"])
    with progress.stage("tiny"), storage_errors(out):
        stage.open()
        words = _words(catalogue, attributes)
        train_log = TrainLog(catalogue, judge.min_rating)
        dimensions = int(_VECTOR_DIMENSIONS * tiny.width)
        next_item = fit_next_item_model(train_log, words, judge.history, dimensions, tiny.seed)
        tokenizer = catalogue_tokenizer(catalogue.visible(), attributes, builders)
        pieces = PromptPieces(tokenizer, builders)
        tasks = TaskSampler(train_log, next_item, judge.history, tiny.none_share, tiny.seed)
        checkpoint = SealedFile(out / CHECKPOINT)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(tiny.seed)
            model = new_model(tokenizer, pieces, next_item, tiny)
            state = train(model, pieces, tasks, judge.candidates, tiny, checkpoint, partial(_report, progress))
        transformers_logging.disable_progress_bar()  # the command line draws its own
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        (out / "model.safetensors").chmod(0o644)  # save_pretrained makes it readable for the owner only
        facts = {
            "scenario": settings.scenario,
            "settings": to_dict(tiny),
            "candidates": judge.candidates,
            "history": judge.history,
            "parameters": model.num_parameters(),
            "tokens": len(tokenizer),
            "updates": state.update,
            "minutes": state.seconds / 60,
            "cpu_minutes": state.cpu_seconds / 60,
            "held_out": _evaluate(catalogue, settings, tiny, words, next_item, out),
        }
        write_json(out / TRAINING, facts)
        checkpoint.remove()
        stage.finish(facts, time.perf_counter() - began)
    return facts


def _report(progress: Progress, done: int, total: int) -> None:
    progress.update("training", done, total)


def new_model(
    tokenizer: PreTrainedTokenizerFast, pieces: PromptPieces, next_item: NextItemModel, tiny: TinySettings
) -> MistralForCausalLM:
    """An untrained model with item vectors as token embeddings, and attention that starts out comparing tokens.

    Args:
        tokenizer: its tokenizer.
        pieces: token ids of the items.
        next_item: source of the item vectors.
        tiny: width and number of layers.
    """
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
        initializer_range=_INITIALIZER_RANGE,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = MistralForCausalLM(config)
    with torch.no_grad():
        _init_embeddings(model.model.embed_tokens.weight, pieces, next_item)
        # Mimetic initialisation: queries attend to similar keys (Trockman & Kolter 2023).
        for layer in model.model.layers:
            query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
            groups = len(query) // len(key)
            query.copy_(2 * key.view(-1, 32, tiny.width).repeat_interleave(groups, 0).reshape(query.shape))
    return model


def _init_embeddings(table: torch.Tensor, pieces: PromptPieces, next_item: NextItemModel) -> None:
    """Fill the rows of tokens that occur in items, in place.

    An item's first token, which usually occurs in no other item, gets the item's vector; the other tokens get the mean
    over their items.
    """
    dim = next_item.vectors.shape[1]
    vectors = next_item.vectors / next_item.vectors.norm(dim=1).mean()
    shared = torch.from_numpy(token_vectors(pieces.items, vectors.numpy(), len(table)))
    known = shared.norm(dim=1) > 0
    first = torch.tensor([int(ids[0]) for ids in pieces.items])
    shared[first] = vectors
    logit = next_item.popularity
    popularity = (logit - logit.mean()) / logit.std().clamp(min=1e-6)
    table[known] *= _NOISE / _INITIALIZER_RANGE
    table[known, :dim] = _VECTOR_NORM * shared[known]
    table[first, dim] = _VECTOR_NORM * _POPULARITY_SCALE * popularity


def _words(catalogue: Catalogue, attributes: tuple[str, ...]) -> Tokens:
    """Bags of words of the items."""
    names = attributes or tuple(catalogue.item_texts)
    return tokens_of({name: catalogue.item_texts[name] for name in names} or {"id": catalogue.item_ids})


def _check(catalogue: Catalogue, settings: Settings) -> None:
    """Raise before the training what would otherwise fail after it."""
    judge = settings.judge
    needed = judge.candidates + judge.history + 2
    if catalogue.n_items < needed:
        expected = f"{needed} or more: lower judge.candidates or judge.history"
        raise InputError("items", f"there are {catalogue.n_items}", expected)
    TrainLog(catalogue, judge.min_rating)
    for users in (catalogue.log_users, catalogue.valid_users):
        log, rng = catalogue.of_users(users), np.random.default_rng(0)
        draw_examples(log, users, 1, judge.candidates, 0.0, rng, min_rating=judge.min_rating)


def _fingerprint(catalogue: Catalogue, builders: list[PromptBuilder], settings: Settings, tiny: TinySettings) -> str:
    """Identifies everything that the weights depend on."""
    logged = hashlib.sha256()
    for log in (catalogue.visible(), catalogue.of_users(catalogue.valid_users)):
        for column in (log.user, log.item, log.rating):
            logged.update(np.ascontiguousarray(column).tobytes())
    prompts = [builder.fingerprint for builder in builders]
    training = to_dict(replace(tiny, threads=1, checkpoint_every=1))
    return fingerprint("tiny judge", prompts, logged.hexdigest(), settings.judge.min_rating, training)


def _evaluate(
    catalogue: Catalogue,
    settings: Settings,
    tiny: TinySettings,
    words: Tokens,
    next_item: NextItemModel,
    folder: Path,
) -> dict[str, Any]:
    """Accuracy of the saved model on validation users, with and without None prompts, and of the baselines."""
    results: dict[str, Any] = {}
    log = catalogue.of_users(catalogue.valid_users)
    for name, none_share in (("all_with_the_true_item", 0.0), ("a_share_without", tiny.none_share)):
        examples = draw_examples(
            log,
            catalogue.valid_users,
            tiny.prompts,
            settings.judge.candidates,
            none_share,
            np.random.default_rng([tiny.seed, 3]),
            history=settings.judge.history,
            min_rating=settings.judge.min_rating,
        )
        results[name] = accuracies(examples, catalogue, settings, folder)
        if not none_share:
            results["compare"] = baselines(examples, catalogue, words, next_item)
    return results
