"""Vectors of the items' texts by a text encoder: any folder of sentence-transformers, or of transformers.

For the judge `embedding:FOLDER` and for `agent.item_vectors`. Nothing here runs code of a model's folder. Vectors are
kept in `ialp_rllib/vectors` in `XDG_CACHE_HOME` (default: `~/.cache`), under names made of the encoder's content and
the texts; they may be deleted at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.engines.convert import cache_folder
from ialp_rllib.judge.engines.files import read_object
from ialp_rllib.judge.engines.models import load_config, load_model, load_tokenizer, load_whole, model_fingerprint
from ialp_rllib.settings import fingerprint
from ialp_rllib.storage import hash_json, read_json, write_atomic

log = logging.getLogger(__name__)

MAX_TOKENS = 64  # of an item's text; what follows is cut off
MAX_CHARACTERS = 120  # of an attribute's value
BATCH = 64  # texts per forward pass, of similar length
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_KNOWN = ("Transformer", "Pooling", "Normalize")  # modules of sentence-transformers; vectors are normalised anyway


class Encoder(NamedTuple):
    """A text encoder's folder, and how the vectors of a text's tokens become one: ``mean`` of them, or the first."""

    folder: Path
    pooling: str
    max_tokens: int


def find_encoder(folder: str) -> Encoder:
    """What a folder says of its encoder; files and architecture are checked, weights are not read.

    Without `modules.json` (a plain transformers model) the mean is taken.

    Raises:
        InputError: no such folder, or it needs something else than a transformer, a pooling and a normalisation.
    """
    path, where = Path(folder).expanduser(), f"embedding:{folder}"
    if not (path / "config.json").is_file():
        problem = "holds no config.json" if path.is_dir() else "no such folder"
        raise InputError(where, problem, "the folder of a text encoder, as sentence-transformers or transformers saves")
    load_config(str(path))
    pooling, longest, inner = "mean", MAX_TOKENS, path
    if (path / "modules.json").is_file():
        for module in _modules(path):
            kind, place = str(module.get("type", "")).rpartition(".")[2], path / str(module.get("path", ""))
            if kind not in _KNOWN:
                raise InputError(where, f"has a module {kind!r}", f"an encoder of {', '.join(_KNOWN)} alone")
            if kind == "Pooling":
                pooling = _pooling(place / "config.json", where)
            if kind == "Transformer":
                inner = place
        limits = inner / "sentence_bert_config.json"
        longest = read_object(limits).get("max_seq_length") or longest if limits.is_file() else longest
    return Encoder(inner, pooling, min(MAX_TOKENS, longest))


def _modules(folder: Path) -> list[dict[str, Any]]:
    modules = read_json(folder / "modules.json", expected="a JSON list")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise InputError(str(folder / "modules.json"), "is no list of modules", "what sentence-transformers saves")
    return modules


def _pooling(config: Path, where: str) -> str:
    modes = [name for name, on in read_object(config).items() if name.startswith("pooling_mode") and on]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise InputError(where, f"pools by {', '.join(modes) or 'nothing'}", f"one of {', '.join(_POOLINGS)}")
    return _POOLINGS[modes[0]]


def encoder_content(folder: str) -> str:
    """Identifies an encoder by the content of its folder, and how it is used."""
    encoder = find_encoder(folder)
    return fingerprint(model_fingerprint(str(encoder.folder)), encoder.pooling, encoder.max_tokens, MAX_CHARACTERS)


def described(catalogue: Catalogue, attributes: tuple[str, ...] = ()) -> list[str]:
    """One text per item: its attributes, separated by commas; an item without any is its id.

    Args:
        catalogue: ``item_texts`` describe the items.
        attributes: names of the attributes, in order; empty: all.

    Raises:
        InputError: the catalogue does not have one of the attributes.
    """
    missing = [name for name in attributes if name not in catalogue.item_texts]
    if missing:
        known = ", ".join(catalogue.item_texts) or "none"
        raise InputError("catalogue.attributes", f"items have no attribute {missing[0]!r}", f"one of {known}")
    columns = [catalogue.item_texts[name] for name in attributes or catalogue.item_texts] or [catalogue.item_ids]
    texts = []
    for row in zip(*columns, strict=True):
        values = [" ".join(str(value).split())[:MAX_CHARACTERS] for value in row]
        texts.append(", ".join(filter(None, values)))
    return [text or str(item) for text, item in zip(texts, catalogue.item_ids, strict=True)]


def text_vectors(
    catalogue: Catalogue,
    folder: str,
    attributes: tuple[str, ...] = (),
    *,
    gpu: bool = False,
) -> np.ndarray:
    """Vectors of the items' texts, ``(I, D) float32``, of length 1.

    Args:
        catalogue: items.
        folder: the encoder's folder, see :func:`find_encoder`.
        attributes: item attributes that describe an item; empty: all.
        gpu: compute them on a GPU, if there is one.

    Raises:
        InputError: the encoder cannot be loaded, or its vectors are not finite.
    """
    encoder, texts = find_encoder(folder), described(catalogue, attributes)
    return _kept(
        hash_json([encoder_content(folder), texts]),
        len(texts),
        lambda: encode(encoder, texts, "cuda" if gpu and torch.cuda.is_available() else "cpu"),
    )


def token_vectors(catalogue: Catalogue, model: str, attributes: tuple[str, ...] = ()) -> np.ndarray:
    """Vectors of the items' texts by a language model: the mean of its input embeddings of the text's tokens.

    Only the embedding table is used: no forward pass of what may be billions of parameters.

    Args:
        catalogue: items.
        model: a folder or Hugging Face id, as :func:`.models.resolve_model` returns it.
        attributes: item attributes that describe an item; empty: all.

    Returns:
        ``(I, D) float32``, of length 1.

    Raises:
        InputError: the model cannot be loaded.
    """
    texts = described(catalogue, attributes)
    key = hash_json(["tokens", model_fingerprint(model), MAX_TOKENS, texts])
    return _kept(key, len(texts), lambda: _mean_tokens(model, texts))


def _mean_tokens(model: str, texts: list[str]) -> np.ndarray:
    tokenizer = load_tokenizer(model)
    encoded = [tokenizer.encode(text, add_special_tokens=False)[:MAX_TOKENS] or [0] for text in texts]
    table = load_model(model, "float32").get_input_embeddings().weight.detach()
    offsets = torch.tensor(np.cumsum([0, *map(len, encoded[:-1])]))
    flat = torch.tensor([token for ids in encoded for token in ids])
    return _unit(torch.nn.functional.embedding_bag(flat, table, offsets, mode="mean").numpy())


@torch.inference_mode()
def encode(encoder: Encoder, texts: list[str], device: str = "cpu") -> np.ndarray:
    """Vectors of texts, ``(n, D) float32``, of length 1; texts of similar length share a forward pass."""
    tokenizer, model = load_tokenizer(str(encoder.folder)), _load(encoder.folder).to(device)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:  # of language models; these positions are masked
        tokenizer.pad_token = tokenizer.eos_token
    log.info("computing the text vectors of %d items by %s", len(texts), encoder.folder)
    vectors: np.ndarray | None = None
    order = np.argsort([len(text) for text in texts], kind="stable")
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        inputs = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=encoder.max_tokens,
            return_tensors="pt",
        ).to(device)
        found = _pooled(model(**inputs).last_hidden_state.float(), inputs["attention_mask"], encoder.pooling).cpu()
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), np.float32)
        vectors[rows] = found.numpy()
    assert vectors is not None
    if not np.isfinite(vectors).all():
        raise InputError(f"embedding:{encoder.folder}", "makes vectors that are not finite", "an undamaged encoder")
    return _unit(vectors)


def _pooled(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """``(n, T, D)`` token vectors and ``(n, T)`` mask -> ``(n, D)``."""
    if pooling == "cls":
        return hidden[:, 0]
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def _load(folder: Path) -> Any:
    """The encoder, in float32 and evaluation mode, with every weight from its checkpoint but those of a pooler."""
    from transformers import AutoModel

    model = load_whole(AutoModel, str(folder), unused="pooler", dtype=torch.float32)
    return model.eval()


def centred(vectors: np.ndarray) -> np.ndarray:
    """Vectors ``(I, D)`` less their mean, of length 1 (0 for one that is the mean), ``float32``.

    Encoders put all texts of a domain into a narrow cone; without its axis, similarities tell items apart.
    """
    return _unit(vectors - vectors.mean(0, dtype=np.float64))


def principal(vectors: np.ndarray, dim: int) -> np.ndarray:
    """The first ``dim`` principal components of centred vectors ``(I, D)``, of length 1: ``(I, min(dim, D))``."""
    if vectors.shape[1] <= dim:
        return vectors
    values, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    axes = axes[:, np.argsort(-values, kind="stable")[:dim]]
    return _unit(vectors @ (axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(dim)])))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 1e-9, length, np.inf), np.float32)


def _kept(key: str, rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of this key in this machine's cache, or what ``compute`` returns, which is then kept there."""
    file = cache_folder().with_name("vectors") / f"{key[:32]}.safetensors"
    if file.is_file():
        try:
            kept = load_file(file).get("vectors", np.zeros(0))
        except (SafetensorError, OSError) as error:
            log.warning("%s is damaged (%s): computing it again", file, error)
        else:
            if kept.ndim == 2 and len(kept) == rows and kept.dtype == np.float32:
                return kept
    vectors = compute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, lambda path: save_file({"vectors": vectors}, path))
    except (OSError, IalpError) as error:
        log.warning("cannot keep the text vectors in %s (%s): every process computes them again", file.parent, error)
    return vectors
