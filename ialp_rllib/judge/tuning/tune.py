"""LoRA tuning of the judge on logged interactions: to answer with a single label, or to go on with lists of items.

Low-rank adapters: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models* (ICLR 2022), as implemented by peft.
With ``judge.tune.quantize=4bit`` the frozen base model is quantised to four bits: Dettmers et al., *QLoRA: Efficient
Finetuning of Quantized LLMs* (NeurIPS 2023), as implemented by bitsandbytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.memory import free_memory, is_out_of_memory
from ialp_rllib.judge.engines.models import load_model, model_fingerprint, resolve_model
from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.checkpoint import Checkpoint
from ialp_rllib.judge.tuning.data import TuningData, tuning_data
from ialp_rllib.judge.tuning.fit import fit
from ialp_rllib.judge.tuning.lesson import Course
from ialp_rllib.judge.tuning.losses import PromptLesson, terms
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
    """Tune on ``judge.tune.interactions`` logged interactions of the train users, and as many of each run in ``also``.

    Writes ``out/adapter`` (a PEFT adapter) and ``out/merged`` (the model with the adapter merged, and the tokenizer).
    The merged model is the one to serve: on a CPU it has nine times the throughput of base model and adapter. Until
    both are written, ``out/checkpoint`` holds the state from which an interrupted run resumes.

    Args:
        judge: the judge's settings.
        catalogue: items and log.
        model: `tiny`, a model folder, or a Hugging Face model id.
        out: output folder.
        attributes: item attributes shown in the prompt; empty: all.
        progress: called with the number of updates done and in total; early stopping may end before the total.

    Returns:
        ``loss`` and ``accuracy`` (one number per update, before it), ``updates``, ``skipped_updates`` (those, from 1,
        whose loss or gradient was not finite), ``micro_batch`` (prompts per forward pass: ``batch``, or fewer if memory
        ran out), ``held_out_loss`` (one number per epoch, after it), ``kept_pass`` (the epoch whose adapter was kept,
        from 1), ``examples``, ``held_out`` and ``skipped`` (numbers of training, held-out and too long prompts
        or lists), ``objective``, ``targets`` (number of training tokens that are predicted in a pass),
        ``trainable`` and ``parameters`` (numbers of parameters).

    Raises:
        InputError: the model cannot be loaded or quantised, its tokenizer splits a label into several tokens, it has no
            layers named ``targets``, another run's data are missing, no prompt fits, the loss diverges, or memory does
            not hold the model and one prompt.
    """
    model = resolve_model(model)
    tokenizer = PromptTokenizer(judge, PromptBuilder(catalogue, judge, attributes), model)
    data = tuning_data(judge, catalogue, tokenizer, attributes)
    # The result does not depend on the first two; `also` is covered by the data's fingerprint.
    settings = asdict(replace(judge.tune, checkpoint_every=1, max_skipped=0, also=()))
    marks = (settings, judge.seed, judge.dtype, model_fingerprint(model), data.fingerprint)
    checkpoint = Checkpoint(out / CHECKPOINT / "tuning.safetensors", fingerprint("tuning", *marks))
    with torch.random.fork_rng():
        torch.manual_seed(judge.seed)  # initialisation of the adapter, and dropout
        try:
            lora = model_with_adapter(model, judge)
            with threads_for(lora):
                curves, kept = fit(lora, _course(lora, tokenizer, data), judge.tune, judge.seed, checkpoint, progress)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            expected = "a smaller model, gradient_checkpointing, quantize=4bit, or a shorter judge.history"
            raise InputError("judge.tune", "memory does not hold the model and one prompt", expected) from error
    trainable, parameters = lora.get_nb_trainable_parameters()
    lora.save_pretrained(out / ADAPTER)
    del lora
    free_memory()  # the judge is served next, possibly on the same GPU
    _export_merged(model, judge.dtype, out)
    tokenizer.tokenizer.save_pretrained(out / MERGED)
    checkpoint.remove()
    recorded = asdict(curves)
    del recorded["attempted"]
    return {
        **recorded,
        "objective": judge.tune.objective,
        "targets": terms(data.train, np.arange(len(data.train.ids))),
        "batch": judge.tune.batch,
        "updates": len(curves.loss),
        "kept_pass": kept,
        "examples": len(data.train.ids),
        "held_out": len(data.held_out.ids),
        "skipped": data.skipped,
        "trainable": trainable,
        "parameters": parameters,
    }


def _course(model: Any, tokenizer: PromptTokenizer, data: TuningData) -> Course:
    """The cross-entropy is over the whole vocabulary: of the label at the prompts' last position, so that the model
    also learns the answer format, for engines that cannot constrain decoding; or of the tokens of a list's items.
    """
    held_out = PromptLesson(model, tokenizer, data.held_out) if data.held_out.ids else None
    return Course(lambda epoch: PromptLesson(model, tokenizer, data.of_pass(epoch)), held_out, easier=len(data.easier))


def model_with_adapter(model: str, judge: JudgeSettings) -> Any:
    """The frozen base model in ``judge.dtype`` or 4 bits, with a new trainable adapter in float32.

    Args:
        model: a model folder or a Hugging Face model id.
        judge: ``dtype``, ``gpus`` and ``tune`` are used.

    Raises:
        InputError: the model cannot be loaded or quantised, does not support gradient checkpointing, or has no layers
            named ``targets``, or peft refuses these.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    tune = judge.tune
    base = load_model(model, judge.dtype, tune.quantize)
    if tune.gradient_checkpointing and not base.supports_gradient_checkpointing:
        raise InputError("judge.tune.gradient_checkpointing", f"{type(base).__name__} does not support it", "false")
    # Reentrant checkpointing needs an input that requires a gradient. Behind a frozen embedding there is none, and
    # nothing would be trained.
    options = {"use_reentrant": False}
    if tune.quantize == "4bit":
        base = prepare_model_for_kbit_training(base, tune.gradient_checkpointing, options)
    else:
        base = base.to("cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu")
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable(options)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=tune.rank,
        lora_alpha=tune.lora_alpha,  # type: ignore[arg-type]  # fractions work as well
        lora_dropout=tune.dropout,
        target_modules=adapter_targets(base, tune.targets),
    )
    try:
        return get_peft_model(base, config, autocast_adapter_dtype=True)
    except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError) as error:
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            "judge.tune.targets",
            f"peft cannot adapt {type(base).__name__} ({problem})",
            "other modules, by name suffix; or judge.tune.enabled=false, to use the model as it is",
        ) from error


def adapter_targets(model: Any, targets: tuple[str, ...], where: str = "judge.tune.targets") -> str | list[str]:
    """Suffixes of names of linear layers for peft, each of which must match a layer.

    Args:
        where: the setting that holds ``targets``, for messages.

    Raises:
        InputError: one matches no layer, or there is none.
    """
    from transformers.pytorch_utils import Conv1D

    if targets == ("all-linear",):
        return "all-linear"  # all but the output layer, whatever their names
    # The output layer often shares its weights with the embedding, which merging would change, too.
    output = model.get_output_embeddings()
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
    ]
    known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    if not targets:
        raise InputError(where, "is empty", f"all-linear, or some of {known}")
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            problem = f"the model has no linear layer whose name ends in {target!r}"
            raise InputError(where, problem, f"all-linear, or some of {known}")
    return list(targets)


def _export_merged(model: str, dtype: str, out: Path) -> None:
    """Write ``out/merged``: the model with the adapter in ``out/adapter`` merged.

    The base model is loaded again in full precision. Merging into a 4-bit base would add a second rounding error and
    leave a quantised model, which is slow to serve.
    """
    from peft import PeftModel

    model_and_adapter = PeftModel.from_pretrained(load_model(model, dtype), out / ADAPTER, torch_device="cpu")
    model_and_adapter.merge_and_unload().save_pretrained(out / MERGED)
