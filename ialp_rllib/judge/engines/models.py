"""What `judge.model` names, loading of models and tokenizers in Hugging Face's layout, and their fingerprints.

Nothing here runs code of a model's folder (`trust_remote_code=False`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.engines import convert
from ialp_rllib.judge.engines.files import read_object, weight_names, weights
from ialp_rllib.judge.engines.sources import ADAPTER_CONFIG, ADAPTER_WEIGHTS, find_model
from ialp_rllib.judge.engines.weights import (
    bare_name,
    check_architecture,
    check_loading,
    check_values,
    head_names,
    renamed,
)
from ialp_rllib.storage import hash_file

RECORDS = ("training.json", "manifest.json")  # how a tiny judge was trained; not hashed, because they hold wall times
MODEL_FILES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
_BASE = "base_model_name_or_path"


def resolve_model(name: str) -> str:
    """A model folder or a Hugging Face model id that both engines can load.

    ``tiny`` becomes the packaged model's folder. Adapters, GGUF files and checkpoints with a wrapper's names are
    converted, once, into a folder in the cache (:mod:`.convert`). Other folders and ids are returned as given.

    Raises:
        InputError: the name looks like a path that does not exist, the folder contains no model, or the model cannot
            be converted.
    """
    path, kind = find_model(name)
    if path is None:
        return name
    if kind == "folder":
        return _without_wrapper(path)
    if kind == "gguf":
        convert.check_gguf(path)
        make = partial(convert.convert_gguf, path)
    else:
        base = adapter_base(path)
        make = partial(convert.merge_adapter, path, base, local_folder(base), load_model)
    return str(convert.converted(kind, model_fingerprint(name), str(path), make))


def adapter_base(adapter: Path) -> str:
    """The base model of an adapter, as :func:`resolve_model` returns it.

    Raises:
        InputError: the adapter does not name one, or the one that it names is not there.
    """
    where = f"adapter {adapter}"
    if not any((adapter / file).is_file() for file in ADAPTER_WEIGHTS):
        raise InputError(where, "holds no weights", f"one of {', '.join(ADAPTER_WEIGHTS)}")
    name = read_object(adapter / ADAPTER_CONFIG).get(_BASE)
    expected = f"the base model as a folder (relative to the adapter, or absolute) or a hub id, in {_BASE}"
    if not isinstance(name, str) or not name:
        raise InputError(where, f"its {ADAPTER_CONFIG} names no base model", expected)
    beside = adapter / name
    if beside.exists() and beside.resolve() == adapter.resolve():
        raise InputError(where, "names itself as its base model", expected)
    try:
        return resolve_model(str(beside) if beside.exists() else name)
    except InputError as error:
        raise InputError(where, f"its base model {name} cannot be used: {error.problem}", expected) from error
    except RecursionError as error:
        raise InputError(where, "is, by a detour, its own base model", expected) from error


def _without_wrapper(folder: Path) -> str:
    """The folder, or a copy of it whose weights have the model's names, if a wrapper has changed them."""
    names = _new_names(folder)
    if not names:
        return str(folder)
    print_ = model_fingerprint(str(folder))
    make = partial(convert.rename_weights, folder, names)
    return str(convert.converted("renamed", print_, str(folder), make))


def _new_names(folder: Path) -> dict[str, str]:
    """New names of the weights of a folder, see :func:`.weights.renamed`; empty if they are what they should be."""
    with _loading(str(folder)):
        names = weight_names(folder)
    if len({name.partition(".")[0] for name in names}) > 1 and all(bare_name(name) == name for name in names):
        return {}
    return renamed(names, _names_in_model(folder, (folder / "config.json").read_bytes()))


@lru_cache(maxsize=8)
def _names_in_model(folder: Path, config: bytes) -> frozenset[str]:
    """Names of the weights of the model of a config.json with these contents; every fingerprint of it asks for them."""
    import torch
    from transformers import AutoModelForCausalLM

    read = load_config(str(folder))
    check_architecture(read, str(folder))
    with torch.device("meta"):
        return frozenset(AutoModelForCausalLM.from_config(read, trust_remote_code=False).state_dict())


def local_folder(model: str) -> Path:
    """Where a model's files lie; those of a Hugging Face id in the hub's cache."""
    if Path(model).is_dir():
        return Path(model)
    from transformers.utils import cached_file

    with _loading(model):
        return Path(str(cached_file(model, "config.json"))).parent


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer, with padding on the left.

    Raises:
        InputError: the model does not exist, cannot be downloaded, has no tokenizer, or one that needs code of its own.
    """
    from transformers import AutoTokenizer

    with _loading(model, "tokenizer"):
        return AutoTokenizer.from_pretrained(model, padding_side="left", trust_remote_code=False)


def load_config(model: str) -> Any:
    """The model's configuration.

    Raises:
        InputError: the model does not exist, cannot be downloaded, or needs code of its own.
    """
    from transformers import AutoConfig

    with _loading(model):
        return AutoConfig.from_pretrained(model, trust_remote_code=False)


def load_model(model: str, dtype: str, quantize: str = "none") -> Any:
    """Load a causal language model, in evaluation mode. All of its weights come from the checkpoint, and are finite.

    Args:
        model: a model folder or a Hugging Face model id.
        dtype: precision of the weights (``float32``, ``bfloat16`` or ``float16``).
        quantize: ``none``, or ``4bit``: linear layers in NF4 on the GPU (Dettmers et al. 2023), for tuning only.

    Raises:
        InputError: the model cannot be loaded, its weights do not fit it, or 4-bit quantisation is not available on
            this machine.
    """
    import torch

    options = _four_bit_options() if quantize == "4bit" else {}
    loaded = _from_pretrained(model, dtype=getattr(torch, dtype), **options)
    check_values(loaded.named_parameters(), head_names(loaded), model)
    return loaded.eval()


def check_weights(model: str, dtype: str, values: bool = True) -> None:
    """Check a checkpoint as :func:`load_model` does, without holding the model in memory.

    Args:
        model: a model folder or a Hugging Face model id.
        dtype: precision in which its values must be finite.
        values: read the values, too, not only names and shapes.

    Raises:
        InputError: the model cannot be loaded, or its weights do not fit it.
    """
    import torch

    # With this map transformers reads names and shapes only.
    skeleton = _from_pretrained(model, dtype=getattr(torch, dtype), device_map={"": "meta"})
    if values:
        heads = head_names(skeleton)
        heads |= {name.partition(".")[2] for name in heads}  # a checkpoint of the model without its head
        stored = ((name, tensor.to(getattr(torch, dtype))) for name, tensor in weights(local_folder(model)))
        with _loading(model):
            check_values(stored, heads, model)


def _from_pretrained(model: str, **options: Any) -> Any:
    """The causal language model, once every weight of it was found in the checkpoint."""
    from transformers import AutoModelForCausalLM

    check_architecture(load_config(model), model)
    return load_whole(AutoModelForCausalLM, model, **options)


def load_whole(kind: Any, model: str, unused: str = "\0", **options: Any) -> Any:
    """A model of one of transformers' automatic classes, once every weight of it was found in the checkpoint.

    Weights with ``unused`` in their names may be missing. ``options`` are those of ``from_pretrained``. Raises as
    :func:`load_model`.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # the command line draws its own
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of missing weights becomes an error of ours
    try:
        with _loading(model):
            result: Any = kind.from_pretrained(
                model,
                trust_remote_code=False,
                weights_only=True,  # a pickled checkpoint must not run code
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported instead, all at once
                **options,
            )
    finally:
        logging.set_verbosity(verbosity)
    loaded, info = result
    missing = [key for key in info.get("missing_keys") or () if unused not in key]
    check_loading({**info, "missing_keys": missing}, model)
    return loaded


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


@contextmanager
def _loading(model: str, what: str = "") -> Iterator[None]:
    try:
        yield
    except IalpError:
        raise
    except Exception as error:  # these loaders raise a dozen types, from OSError to KeyError
        raise _unloadable(model, error, what) from error


def _unloadable(model: str, error: Exception, what: str = "") -> InputError:
    problem = " ".join(str(error).split())[:200] or type(error).__name__
    where = f"judge.model {model}"
    if "trust_remote_code" in str(error):
        problem = f"needs code of its own{f' for its {what}' if what else ''} (auto_map), which is never run"
        return InputError(where, problem, "a model of an architecture that transformers has")
    if "weights only load failed" in problem.lower():
        return InputError(where, "its pickled weights hold more than tensors, and code is never run", "safetensors")
    if Path(model).is_dir():
        expected = "config.json, tokenizer and weights (safetensors) of a causal language model"
    else:
        expected = "an existing folder, or a Hugging Face id that this machine can download (network, HF_TOKEN)"
    return InputError(where, f"cannot be loaded ({problem})", expected)


def model_fingerprint(model: str) -> str:
    """Identifies a model by content: 16 hex digits of SHA-256; hub ids: ``id@revision``.

    Of a folder it covers weights, configuration and tokenizer; of an adapter its files and its base model; of a GGUF
    file the file. What was converted has the fingerprint of its source.

    Args:
        model: a name as `judge.model` has it, or what :func:`resolve_model` made of it.
    """
    path, kind = find_model(model)
    if path is None:
        return f"{model}@{getattr(load_config(model), '_commit_hash', None) or 'unknown'}"
    if kind == "gguf":
        return hash_file(path)[:16]
    if kind == "folder" and convert.undamaged(path):
        return str(read_object(path / convert.RECORD)["fingerprint"])
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in MODEL_FILES and file.is_file() and file.name not in RECORDS:
            digest.update(file.name.encode())
            if kind == "adapter" and file.name == ADAPTER_CONFIG:  # wherever its base lies
                config = {key: value for key, value in read_object(file).items() if key != _BASE}
                digest.update(json.dumps(config, sort_keys=True).encode())
            else:
                digest.update(bytes.fromhex(hash_file(file)))
    if kind == "adapter":
        digest.update(model_fingerprint(adapter_base(path)).encode())
    return digest.hexdigest()[:16]
