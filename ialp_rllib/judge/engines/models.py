"""Loading of models and tokenizers in Hugging Face's layout, and their fingerprints."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.errors import InputError

RECORDS = ("training.json", "manifest.json")  # how a tiny judge was trained; not hashed, because they hold wall times
MODEL_FILES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")


def resolve_model(name: str) -> str:
    """Resolve ``tiny`` to the folder of the packaged model; folders and Hugging Face model ids are returned as given.

    Raises:
        InputError: the name looks like a folder that does not exist, or the folder contains no model.
    """
    if name == "tiny":
        return str(package_data("tiny_judge"))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
            raise InputError(f"judge.model {name}", "no such folder", "`tiny`, a model folder, or a Hugging Face id")
        return name
    if not (folder / "config.json").is_file():
        raise InputError(f"judge.model {name}", "the folder has no config.json", "a model in Hugging Face's layout")
    return str(folder)


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer, with padding on the left.

    Raises:
        InputError: the model does not exist, cannot be downloaded, or has no tokenizer.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, model, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(model: str) -> Any:
    """The model's configuration.

    Raises:
        InputError: the model does not exist or cannot be downloaded.
    """
    from transformers import AutoConfig

    return _load(AutoConfig, model)


def load_model(model: str, dtype: str, quantize: str = "none") -> Any:
    """Load a causal language model, in evaluation mode.

    Args:
        model: a model folder or a Hugging Face model id.
        dtype: precision of the weights (``float32``, ``bfloat16`` or ``float16``).
        quantize: ``none``, or ``4bit``: linear layers in NF4 on the GPU (Dettmers et al. 2023), for tuning only.

    Raises:
        InputError: the model cannot be loaded, or 4-bit quantisation is not available on this machine.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the command line draws its own
    options = _four_bit_options() if quantize == "4bit" else {}
    return _load(AutoModelForCausalLM, model, dtype=getattr(torch, dtype), **options).eval()


def _four_bit_options() -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for 4-bit loading."""
    import torch
    from transformers import BitsAndBytesConfig

    if not torch.cuda.is_available():
        raise InputError("judge.tune.quantize", "4bit needs an NVIDIA GPU, and none is available", "none")
    if importlib.util.find_spec("bitsandbytes") is None:
        expected = "pip install 'ialp_rllib[gpu]', or judge.tune.quantize=none"
        raise InputError("judge.tune.quantize", "4bit needs bitsandbytes, which is not installed", expected)
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def _load(auto_class: Any, model: str, **options: Any) -> Any:
    try:
        return auto_class.from_pretrained(model, **options)
    except Exception as error:  # these loaders raise a dozen types, from OSError to KeyError
        problem = " ".join(str(error).split())[:200] or type(error).__name__
        if Path(model).is_dir():
            expected = "config.json, tokenizer and weights (safetensors) of a causal language model"
        else:
            expected = "an existing folder, or a Hugging Face id that this machine can download (network, HF_TOKEN)"
        raise InputError(f"judge.model {model}", f"cannot be loaded ({problem})", expected) from error


def model_fingerprint(model: str) -> str:
    """Identifies a model: 16 hex digits of SHA-256 over weights, configuration and tokenizer; hub ids: ``id@revision``.

    Args:
        model: a model folder or a Hugging Face model id.
    """
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{getattr(load_config(model), '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in MODEL_FILES and file.is_file() and file.name not in RECORDS:
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
