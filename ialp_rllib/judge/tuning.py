"""LoRA tuning: the judge learns to answer with one label, from logged interactions (Hu et al. 2022; peft)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.engines import PromptTokens
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.models import load_model, resolve_model
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

ADAPTER, MERGED = "adapter", "merged"


def tune_judge(
    judge: JudgeSettings,
    catalogue: Catalogue,
    model: str,
    out: Path,
    *,
    attributes: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Tune on ``judge.tune.interactions`` logged interactions of the train users.

    Leaves ``out/adapter`` (a PEFT adapter) and ``out/merged`` (the whole model with the adapter merged in, and the
    tokenizer). The merged one is served: on a CPU it answers nine times as many prompts as model and adapter apart.

    Args:
        judge: its settings.
        catalogue: items and log.
        model: `tiny`, a folder, or a Hugging Face id.
        out: folder for the results.
        attributes: item attributes to show; empty: all.
        progress: called with updates done and updates in all.

    Returns:
        ``loss`` and ``accuracy`` (lists, one number per update, before it), ``updates``, ``trainable`` and
        ``parameters`` (counts).

    Raises:
        InputError: the model cannot be loaded, its labels are not single tokens, or a prompt is too long.
    """
    model = resolve_model(model)
    builder = PromptBuilder(catalogue, judge, attributes)
    tokens = PromptTokens(judge, builder, model)
    rng = np.random.default_rng([judge.seed, 1])
    past, candidates, label = draw_examples(
        catalogue,
        catalogue.train_users,
        judge.tune.interactions,
        judge.candidates,
        judge.tune.none_share,
        rng,
        history=judge.history,
        min_rating=judge.min_rating,
    )
    ids = tokens.encode(builder.build(past, candidates))
    answers = np.array(tokens.labels)[label]
    device = "cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(judge.seed)  # the adapter's start
        lora = _with_adapter(load_model(model, judge.dtype).to(device), judge)
        curves = _fit(lora, tokens, ids, answers, judge, rng, progress)
    trainable, parameters = lora.get_nb_trainable_parameters()
    lora.save_pretrained(out / ADAPTER)
    lora.merge_and_unload().save_pretrained(out / MERGED)
    tokens.tokenizer.save_pretrained(out / MERGED)
    return {**curves, "updates": len(curves["loss"]), "trainable": trainable, "parameters": parameters}


def _with_adapter(model: Any, judge: JudgeSettings) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=judge.tune.rank,
        lora_alpha=judge.tune.lora_alpha,  # type: ignore[arg-type]  # a fraction works as well
        lora_dropout=0.0,
        target_modules="all-linear",  # all but the output layer, whatever the architecture calls them
    )
    return get_peft_model(model, config)


def _fit(
    model: Any,
    tokens: PromptTokens,
    ids: list[list[int]],
    answers: np.ndarray,
    judge: JudgeSettings,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> dict[str, list[float]]:
    """Cross-entropy of the label at the prompts' last position.

    Over the whole vocabulary, not over the labels only: what is taught is the format, so that an engine that cannot
    constrain its reply gets labels, too.
    """
    tune = judge.tune
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=tune.learning_rate, weight_decay=0.0)
    batches = -(-len(ids) // tune.batch)
    total = tune.epochs * batches
    warmup = max(1.0, tune.warmup * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: min(1.0, (update + 1) / warmup))
    curves: dict[str, list[float]] = {"loss": [], "accuracy": []}
    model.train()
    for _ in range(tune.epochs):
        for rows in np.array_split(rng.permutation(len(ids)), batches):
            inputs = tokens.pad([ids[r] for r in rows], model.device)
            logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
            target = torch.from_numpy(answers[rows]).to(model.device)
            loss = torch.nn.functional.cross_entropy(logits, target)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            curves["loss"].append(loss.item())
            curves["accuracy"].append((logits.argmax(1) == target).float().mean().item())
            progress(len(curves["loss"]), total)
    model.eval()
    log.info("tuned the judge: label loss %.3f -> %.3f", curves["loss"][0], np.mean(curves["loss"][-batches // 4 :]))
    return curves
