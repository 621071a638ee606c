"""Judges that come as something else than a model folder, each converted once into one, in a cache on this machine.

These are a PEFT adapter (merged into its base model), a GGUF file, and a checkpoint whose weights have names that a
wrapper has changed. The cache is `ialp_rllib/models` in `XDG_CACHE_HOME` (default: `~/.cache`). A folder in it is named
by the content of its source, and appears whole or not at all; it may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.files import read_object, weight_files, weights
from ialp_rllib.judge.engines.sources import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from ialp_rllib.judge.engines.weights import check_loading
from ialp_rllib.storage import hash_file

log = logging.getLogger(__name__)

RECORD = "converted.json"  # in a converted folder: the fingerprint of its source, and the SHA-256 of each file
_VERSION = 1  # of the conversions; part of the names in the cache
_TEXTS = (".json", ".model", ".txt", ".jinja", ".tiktoken")  # configuration and tokenizer
_TEMPORARY = ".part"

Loader = Callable[..., Any]


def cache_folder() -> Path:
    """Where converted models lie."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ialp_rllib" / "models"


def converted(kind: str, fingerprint: str, source: str, make: Callable[[Path], None]) -> Path:
    """The folder in the cache for a source, which is made unless it is there and undamaged.

    Args:
        kind: kind of the source, for the folder's name.
        fingerprint: of the source's content.
        source: path of the source, for messages.
        make: writes the model into the folder that it is given.

    Raises:
        InputError: the cache cannot be written, or ``make`` raises it.
    """
    folder = cache_folder() / f"{kind}-{fingerprint}-{_VERSION}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the system when this process ends, however it ends
            if not undamaged(folder):
                _make(folder, fingerprint, source, make)
    except OSError as error:
        expected = "a folder with enough space that can be written to (environment variable XDG_CACHE_HOME)"
        raise InputError(str(folder.parent), f"cannot hold the model made of {source} ({error})", expected) from error
    return folder


def _make(folder: Path, fingerprint: str, source: str, make: Callable[[Path], None]) -> None:
    log.info("converting %s once, into %s", source, folder)
    temporary = folder.with_suffix(_TEMPORARY)
    shutil.rmtree(temporary, ignore_errors=True)  # left by a conversion that was killed
    temporary.mkdir()
    try:
        make(temporary)
        files = {file.name: hash_file(file) for file in sorted(temporary.iterdir())}
        record = {"source": source, "fingerprint": fingerprint, "files": files}
        (temporary / RECORD).write_text(json.dumps(record, indent=1))
        for file in temporary.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def undamaged(folder: Path) -> bool:
    """Whether a folder is a converted model with the content that was written."""
    if not (folder / RECORD).is_file():
        return False
    files = read_object(folder / RECORD).get("files", {})
    return bool(files) and all((folder / name).is_file() and hash_file(folder / name) == d for name, d in files.items())


def rename_weights(folder: Path, names: Mapping[str, str], out: Path) -> None:
    """Write a copy of a model folder whose weights have other names, as safetensors.

    Args:
        folder: a model folder.
        names: name -> new name, for every weight.
        out: folder to write to.
    """
    copy_texts(folder, out)
    shards = weight_files(folder)
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards, 1):
        tensors = {names[name]: tensor.clone() for name, tensor in weights(folder, only=shard)}
        file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        save_file(tensors, out / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def merge_adapter(adapter: Path, base: str, base_folder: Path, load_model: Loader, out: Path) -> None:
    """Write the base model with a PEFT adapter merged into it, in the precision of the base's checkpoint.

    Args:
        adapter: the adapter's folder.
        base: the base model, a folder or a Hugging Face model id.
        base_folder: where its files lie.
        load_model: loads the base model.
        out: folder to write to.

    Raises:
        InputError: the adapter does not fit the base, or cannot be merged.
    """
    from peft import PeftModel, get_peft_model_state_dict

    where, model = f"adapter {adapter}", load_model(base, "float32")
    try:
        tuned: Any = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu")
    except Exception as error:  # peft raises a dozen types
        problem = f"does not fit its base model {base} ({' '.join(str(error).split())[:200]})"
        raise InputError(where, problem, "an adapter of this base, as peft's `save_pretrained` writes it") from error
    file = next(path for path in (adapter / name for name in ADAPTER_WEIGHTS) if path.is_file())
    names, expected = (
        {name for name, _ in weights(adapter, meta=True, only=file)},
        set(get_peft_model_state_dict(tuned)),
    )
    check_loading({"missing_keys": expected - names, "unexpected_keys": names - expected}, str(adapter))
    if names - expected:
        problem = f"holds weights for which its base model {base} has no place, such as {min(names - expected)}"
        raise InputError(where, problem, "an adapter of this very base")
    if not hasattr(tuned.base_model, "merge_and_unload"):
        problem = f"cannot be merged into a model ({tuned.active_peft_config.peft_type})"
        raise InputError(where, problem, "an adapter of weights, such as LoRA")
    try:
        merged = tuned.base_model.merge_and_unload(safe_merge=True)
        merged.to(dtype=_stored_dtype(base_folder)).save_pretrained(out)
    except (ValueError, NotImplementedError) as error:
        raise InputError(where, f"cannot be merged ({error})", "an adapter with finite weights") from error
    copy_texts(base_folder, out, replace=False)
    copy_texts(adapter, out, replace=True)


def _stored_dtype(folder: Path) -> torch.dtype:
    """The precision of a checkpoint's first weight in one of those that models are served in; else float32."""
    for _, tensor in weights(folder):
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32):
            return tensor.dtype
    return torch.float32


def copy_texts(folder: Path, out: Path, replace: bool = True) -> None:
    """Copy configuration and tokenizer, not those of an adapter.

    Args:
        folder: copied from.
        out: copied to.
        replace: also files that are there.
    """
    for file in sorted(folder.iterdir()):
        wanted = file.suffix in _TEXTS and not file.name.endswith(".index.json") and file.name != ADAPTER_CONFIG
        if wanted and file.is_file() and (replace or not (out / file.name).exists()):
            shutil.copyfile(file, out / file.name)


def convert_gguf(file: Path, out: Path) -> None:
    """Write the model in a GGUF file as an ordinary folder, its weights in float32.

    `save_pretrained` refuses a model that came from GGUF as quantised, though its weights are plain float32 by then, so
    weights and configuration are written here.

    Raises:
        InputError: the file is not readable, or of an architecture that transformers cannot read from GGUF.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False).save_pretrained(out)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # the reader raises a dozen types
        problem = f"cannot be converted ({' '.join(str(error).split())[:200] or type(error).__name__})"
        raise InputError(f"judge.model {file}", problem, "a causal language model that transformers reads") from error
    model, info = loaded
    check_loading(info, str(file))
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config |= {"architectures": [type(model).__name__], "dtype": "float32"}
    tied = set(model.all_tied_weights_keys) if config.get("tie_word_embeddings") else set()
    tensors = {k: v.detach().clone() for k, v in model.state_dict().items() if k not in tied}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=1, default=str))


def check_gguf(file: Path) -> None:
    """Check without reading the weights that a GGUF file can be converted here.

    Raises:
        InputError: it is no GGUF file, or the package that reads it is not installed.
    """
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise InputError(f"judge.model {file}", "is no GGUF file: it does not begin with GGUF", "a whole download")
    if importlib.util.find_spec("gguf") is None:
        expected = "pip install 'ialp_rllib[gguf]' (or `pip install gguf`), or the model as a folder of safetensors"
        raise InputError(f"judge.model {file}", "reading GGUF needs the package gguf, which is not installed", expected)
