"""Whether the weights of a checkpoint are those of its model: none missing, none of another shape, all of them finite.

transformers fills what a checkpoint lacks with random numbers, so that two loads of one folder are two models, and only
warns. Here that is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch

from ialp_rllib.errors import InputError

# Names that wrappers put into those of the weights: torch.compile, FSDP, activation checkpointing; at the beginning,
# data parallel training.
_INSIDE = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_BEFORE = re.compile(r"^(?:module\.)+")
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what can be compared without conversion
_OTHER_HEAD = re.compile(r"For(?!CausalLM|ConditionalGeneration|ImageTextToText)\w+$")


def bare_name(key: str) -> str:
    """The name of a weight without those of known wrappers."""
    return _BEFORE.sub("", _INSIDE.sub("", _BEFORE.sub("", key)))


def renamed(keys: Collection[str], expected: Collection[str]) -> dict[str, str]:
    """New names of a checkpoint's weights whose names a wrapper has changed; empty: there is none.

    Args:
        keys: the names in the checkpoint.
        expected: the names in the model.
    """
    names = {key: bare_name(key) for key in keys}
    wanted, inner = set(expected), names
    for _ in range(4):  # modules that hold the model as an attribute: their names are the first part of all keys
        if len({name.partition(".")[0] for name in inner.values()}) != 1:
            break
        inner = {key: name.partition(".")[2] for key, name in inner.items()}
        if len(wanted & set(inner.values())) > len(wanted & set(names.values())):
            names = inner
    changed = any(key != name for key, name in names.items())
    return names if changed and len(set(names.values())) == len(names) else {}


def check_architecture(config: Any, model: str) -> None:
    """A model that does not predict the next token cannot be asked.

    Raises:
        InputError: it is an encoder, an encoder with a decoder, or has the head of another task.
    """
    from transformers import AutoModelForCausalLM

    kind, expected = config.model_type, "a causal language model (a decoder with a language-modelling head)"
    where = f"judge.model {model}"
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(where, f"{kind} is an encoder with a decoder", expected)
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise InputError(where, f"{kind} is no causal language model of this version of transformers", expected)
    names = getattr(config, "architectures", None) or []
    heads = [name for name in names if _OTHER_HEAD.search(name)]
    if heads and len(heads) == len(names):
        raise InputError(where, f"it has the head of another task ({heads[0]})", expected)
    # BERT and its kin are causal only with this flag; without it they look at the words that follow, too.
    if _fills_gaps(config) and not getattr(config, "is_decoder", False):
        raise InputError(where, f"{kind} is an encoder: it is not trained to predict the next token", expected)


def _fills_gaps(config: Any) -> bool:
    """Whether models of this type are trained to fill gaps."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as names

    return config.model_type in names


def check_loading(info: Mapping[str, Any], model: str) -> None:
    """Check transformers' report of a loading (``output_loading_info``).

    Raises:
        InputError: weights are missing that are not tied to others, or have another shape than the model's.
    """
    where = f"weights of {model}"
    expected = "the whole checkpoint of this very model, as `save_pretrained` writes it"
    mismatched = sorted(map(_mismatch, info.get("mismatched_keys") or ()))
    if mismatched:
        problem = f"{_count(mismatched, 'weight has', 'weights have')} another shape than config.json says: "
        raise InputError(where, problem + _some(mismatched), expected)
    missing, unexpected = (sorted(info.get(key) or ()) for key in ("missing_keys", "unexpected_keys"))
    if missing:
        problem = f"{_count(missing, 'weight is', 'weights are')} missing: {_some(missing)}"
        if unexpected:
            problem += f"; the model does not know {_count(unexpected, 'other', 'others')}: {_some(unexpected)}"
        raise InputError(where, problem, expected)
    errors = [str(error) for error in info.get("error_msgs") or ()]
    if errors:
        raise InputError(where, f"cannot be loaded ({errors[0][:200]})", expected)


def check_values(weights: Iterable[tuple[str, torch.Tensor]], heads: Collection[str], model: str) -> None:
    """Check that all numbers are finite, and that the output layer is not empty.

    Args:
        weights: names and tensors.
        heads: names of the output layer's weights.
        model: path or id of the model, for the error message.

    Raises:
        InputError: a weight holds NaN or infinity, or the output layer zeros only.
    """
    for name, weight in weights:
        if weight.dtype not in _NUMBERS or not weight.numel():
            continue
        low, high = (float(end) for end in torch.aminmax(weight.detach()))
        expected = "a checkpoint of a training that went well, in a precision that holds its values (judge.dtype)"
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise InputError(f"weights of {model}", f"hold values that are not finite, in {name}", expected)
        if low == high == 0.0 and name in heads:
            raise InputError(f"weights of {model}", f"the output layer {name} holds zeros only", expected)


def head_names(model: Any) -> set[str]:
    """Names of the weight of a model's output layer; several if it is tied to the embedding."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return {name for name, other in model.named_parameters(remove_duplicate=False) if other is weight}


def _mismatch(entry: Any) -> str:
    """``name: (99, 32), not (100, 32)``."""
    name, *shapes = entry if isinstance(entry, list | tuple) else (entry,)
    return f"{name}: {', not '.join(str(tuple(shape)) for shape in shapes)}" if len(shapes) == 2 else str(name)


def _count(names: Collection[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many}"


def _some(names: Collection[str]) -> str:
    return ", ".join([*list(names)[:3], *(["..."] if len(names) > 3 else [])])
