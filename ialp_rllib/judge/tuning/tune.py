"""LoRA tuning: the judge learns to answer with one label, from logged interactions.

Low-rank adapters: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models* (ICLR 2022), by peft. With
``judge.tune.quantize=4bit`` the frozen base is held in four bits: Dettmers et al., *QLoRA: Efficient Finetuning of
Quantized LLMs* (NeurIPS 2023), by bitsandbytes.
"""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_model, model_fingerprint, resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.data import tuning_data
from ialp_rllib.judge.tuning.fit import Checkpoint, fit
from ialp_rllib.settings import JudgeSettings, fingerprint

log = logging.getLogger(__name__)

ADAPTER, MERGED, CHECKPOINT = "adapter", "merged", "checkpoint"


def tune_judge(
    judge: JudgeSettings,
    catalogue: Catalogue,
    model: str,
    out: Path,
    *,
    attributes: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Tune on ``judge.tune.interactions`` logged interactions of the train users, and of each run in ``also``.

    Leaves ``out/adapter`` (a PEFT adapter) and ``out/merged`` (the whole model with the adapter merged in, and the
    tokenizer). The merged one is served: on a CPU it answers nine times as many prompts as model and adapter apart.
    Until both are there, ``out/checkpoint`` holds what a killed tuning goes on from, to the same end.

    Args:
        judge: its settings.
        catalogue: items and log.
        model: `tiny`, a folder, or a Hugging Face id.
        out: folder for the results.
        attributes: item attributes to show; empty: all.
        progress: called with updates done and updates in all; early stopping may end before all are done.

    Returns:
        ``loss`` and ``accuracy`` (lists, one number per update, before it), ``updates``, ``held_out_loss`` (one number
        per pass, after it), ``kept_pass`` (whose adapter was kept, from 1), ``examples``, ``held_out`` and ``skipped``
        (prompts learnt from, measured by, too long), ``trainable`` and ``parameters`` (counts).

    Raises:
        InputError: the model cannot be loaded or quantised, its labels are not single tokens, it has no such
            ``targets``, another run's data are not there, no prompt fits, the loss diverges, or a GPU's memory is full.
    """
    model = resolve_model(model)
    tokens = PromptTokenizer(judge, PromptBuilder(catalogue, judge, attributes), model)
    data = tuning_data(judge, catalogue, tokens, attributes)
    # What else the result depends on: when checkpoints are written, it does not; `also` is in the data.
    settings = asdict(replace(judge.tune, checkpoint_every=1, also=()))
    marks = (settings, judge.seed, judge.dtype, model_fingerprint(model), data.fingerprint)
    checkpoint = Checkpoint(out / CHECKPOINT / "tuning.safetensors", fingerprint("tuning", *marks))
    with torch.random.fork_rng():
        torch.manual_seed(judge.seed)  # the adapter's start, and dropout
        try:
            lora = model_with_adapter(model, judge)
            curves, kept = fit(lora, tokens, data, judge, checkpoint, progress)
        except torch.OutOfMemoryError as error:
            expected = "a smaller judge.tune.batch (and more accumulate), gradient_checkpointing, or quantize=4bit"
            raise InputError("judge.tune", "the GPU's memory is full", expected) from error
    trainable, parameters = lora.get_nb_trainable_parameters()
    lora.save_pretrained(out / ADAPTER)
    del lora
    _free_memory()
    _export_merged(model, judge.dtype, out)
    tokens.tokenizer.save_pretrained(out / MERGED)
    shutil.rmtree(checkpoint.path.parent)
    return {
        **asdict(curves),
        "updates": len(curves.loss),
        "kept_pass": kept,
        "examples": len(data.train.ids),
        "held_out": len(data.held_out.ids),
        "skipped": data.skipped,
        "trainable": trainable,
        "parameters": parameters,
    }


def model_with_adapter(model: str, judge: JudgeSettings) -> Any:
    """The frozen model in ``judge.dtype``, or in 4 bits, with a new adapter in float32, ready to be trained.

    Raises:
        InputError: the model cannot be loaded or quantised, or lacks what ``judge.tune`` asks of it.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    tune = judge.tune
    base = load_model(model, judge.dtype, tune.quantize)
    if tune.gradient_checkpointing and not base.supports_gradient_checkpointing:
        raise InputError("judge.tune.gradient_checkpointing", f"{type(base).__name__} does not offer it", "false")
    # The reentrant kind wants an input with a gradient, which a frozen embedding does not give: nothing would learn.
    plain = {"use_reentrant": False}
    if tune.quantize == "4bit":
        base = prepare_model_for_kbit_training(base, tune.gradient_checkpointing, plain)
    else:
        base = base.to("cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu")
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable(plain)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=tune.rank,
        lora_alpha=tune.lora_alpha,  # type: ignore[arg-type]  # a fraction works as well
        lora_dropout=tune.dropout,
        target_modules=_targets(base, tune.targets),
    )
    return get_peft_model(base, config, autocast_adapter_dtype=True)


def _targets(model: Any, targets: tuple[str, ...]) -> str | list[str]:
    """``judge.tune.targets`` as peft wants them: endings of the names of linear layers, each of which there must be."""
    from transformers.pytorch_utils import Conv1D

    if targets == ("all-linear",):
        return "all-linear"  # all but the output layer, whatever the architecture calls them
    # The output layer often shares its weights with the embedding: merging would change what goes in, too.
    output = model.get_output_embeddings()
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
    ]
    known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    if not targets:
        raise InputError("judge.tune.targets", "is empty", f"all-linear, or some of {known}")
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            problem = f"the model has no linear layer whose name ends in {target!r}"
            raise InputError("judge.tune.targets", problem, f"all-linear, or some of {known}")
    return list(targets)


def _export_merged(model: str, dtype: str, out: Path) -> None:
    """Write the model with ``out/adapter`` merged in.

    Into the base as it came, loaded again: a base in 4 bits has lost what rounding took away, and merging into it would
    round once more, to a model that serves neither fast nor well.
    """
    from peft import PeftModel

    model_and_adapter = PeftModel.from_pretrained(load_model(model, dtype), out / ADAPTER, torch_device="cpu")
    model_and_adapter.merge_and_unload().save_pretrained(out / MERGED)


def _free_memory() -> None:
    """Give cached memory back: the judge is served next, perhaps on the same GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
