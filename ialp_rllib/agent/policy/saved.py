"""A trained policy as a folder of open formats: ``policy.safetensors`` and ``config.json``.

Loading it needs torch, NumPy and safetensors, no other library. Training leaves such a folder for each pre-trained
policy (``RUN/pretrain/seed-N``) and for each method and seed that went online (``RUN/adapt/METHOD/seed-N``).

``config.json``:

==============  ===================================================================================================
key             value
==============  ===================================================================================================
``format``      version of this format, :data:`FORMAT`
``ialp_rllib``  version of the package that wrote it
``method``      id of the method
``module``      the RLModule that acted in training, for information
``acts``        how the policy acts on its tensors: ``softmax`` of an actor's logits, ``mixture`` of two actors (Eq.
                14), ``q`` (epsilon-greedy on Q-values), ``scores`` (in proportion to fixed scores), ``list`` (one list
                in the order of fixed scores), ``own``: by code of that module, which a file cannot hold, or
                ``candidates``: as ``softmax`` or, with a theta, ``mixture``, on the items that an index finds
``network``     the fields of :class:`ialp_rllib.agent.policy.networks.NetworkConfig`. Of ``item_tokens`` it has the
                number of distinct tokens (null: items are known by their ids alone); of ``user_codes``, whether there
                are any; of ``text_vectors`` their size (null or absent: none). The arrays are in
                ``policy.safetensors``
``candidates``  where ``acts`` is ``candidates``: the settings ``agent.candidates``
``items``       ids of the items, in the order of their indices
``users``       ids of the users, where the state knows them by their attributes; else empty
``weights``     size and SHA-256 of ``policy.safetensors``, by its name
==============  ===================================================================================================

``policy.safetensors`` holds the weights: ``policy.`` and ``critic.``, of a mixture ``theta.`` and ``alpha``, of
Q-learning ``epsilon``; or ``scores``. Beside them the network's features: ``features.item_tokens.codes`` ``(I, T)``
int32 and ``features.item_tokens.scale`` ``(I,)`` float32, or ``features.text_vectors`` ``(I, D)`` float32; and
``features.user_codes`` ``(U, F)`` int32. Of a policy on candidates also ``index.popularity`` ``(I,)`` float32, and
where its index was older than the weights, ``index.vectors`` ``(I, d)`` and ``index.bias`` ``(I,)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import ialp_rllib
from ialp_rllib.agent.policy.acting import ACTS
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.recommender import SavedPolicy
from ialp_rllib.agent.policy.retrieval import OnCandidates, Retrieval
from ialp_rllib.agent.policy.tensors import array_of, check_finite, check_range, short
from ialp_rllib.catalogue.features import Tokens
from ialp_rllib.errors import InputError
from ialp_rllib.storage import damaged_files, file_records, read_json, write_atomic, write_json
from ialp_rllib.storage.tensors import read_tensors

__all__ = [
    "CANDIDATES",
    "CONFIG",
    "FORMAT",
    "OWN",
    "WEIGHTS",
    "SavedPolicy",
    "load_policy",
    "read_weights",
    "save_policy",
]

FORMAT = 1
WEIGHTS, CONFIG, HASH = "policy.safetensors", "config.json", "weights"
OWN, CANDIDATES = "own", "candidates"
_CODES, _SCALE, _USERS = "features.item_tokens.codes", "features.item_tokens.scale", "features.user_codes"
_VECTORS = "features.text_vectors"
_ARRAYS = ("item_tokens", "user_codes", "user_sizes")
# Ranges of the network's sizes, as in the settings of the agent.
_SIZES = {
    "n_items": (1, 2**31),
    "history": (1, 1024),
    "dim": (2, 4096),
    "blocks": (0, 64),
    "heads": (1, 64),
    "mask_recent": (-1, 1024),
    "feedback": (0, 100),
}
_FLAGS = ("shared_encoder", "dueling")


def save_policy(
    folder: Path,
    weights: dict[str, Tensor],
    *,
    method: str,
    acts: str,
    network: NetworkConfig,
    module: str = "",
    item_ids: Iterable[str] = (),
    user_ids: Iterable[str] = (),
    retrieval: Retrieval | None = None,
) -> None:
    """Write ``policy.safetensors`` and ``config.json`` into ``folder``, each whole or not at all.

    Args:
        weights: state dict of the policy: see the module's documentation for the names.
        method: id of the method.
        acts: a key of :data:`.acting.ACTS`, or :data:`OWN`.
        network: sizes and features of its networks; of a fixed policy only the sizes of an observation matter.
        module: where the RLModule is, ``package.module:name``.
        item_ids: ids of the items; none: their indices.
        user_ids: ids of the users; written where ``network`` has user codes. None: their indices.
        retrieval: of a policy that acts on candidates, ``softmax`` or ``mixture``.
    """
    arrays: dict[str, np.ndarray] = {}
    sizes: dict[str, Any] = {name: getattr(network, name) for name in (*_SIZES, *_FLAGS)}
    if network.item_tokens is not None:
        arrays |= {_CODES: network.item_tokens.codes.astype(np.int32), _SCALE: network.item_tokens.scale}
    if network.text_vectors is not None:
        arrays[_VECTORS] = network.text_vectors
    if network.user_codes is not None:
        arrays[_USERS] = network.user_codes.astype(np.int32)
    config = {
        "format": FORMAT,
        "ialp_rllib": ialp_rllib.__version__,
        "method": method,
        "module": module,
        "acts": acts if retrieval is None else CANDIDATES,
        **({} if retrieval is None else {CANDIDATES: retrieval.config()}),
        "network": {
            **sizes,
            "item_tokens": network.item_tokens.size if network.item_tokens is not None else None,
            "text_vectors": network.text_vectors.shape[1] if network.text_vectors is not None else None,
            "user_codes": network.user_codes is not None,
            "user_sizes": [int(size) for size in network.user_sizes],
        },
        "items": _names(item_ids, network.n_items),
        "users": _names(user_ids, len(network.user_codes)) if network.user_codes is not None else [],
    }
    tensors = {**weights, **{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}}
    tensors |= {} if retrieval is None else retrieval.tensors()
    write_atomic(folder / WEIGHTS, lambda path: save_file(tensors, path))
    write_json(folder / CONFIG, {**config, HASH: file_records(folder, [WEIGHTS])})


def _names(ids: Iterable[str], count: int) -> list[str]:
    return [str(name) for name in ids] or [str(index) for index in range(count)]


def load_policy(folder: str | Path) -> SavedPolicy:
    """The policy that :func:`save_policy` left in ``folder``.

    Raises:
        InputError: no such folder, a file is missing or damaged, the format is of another version, or the policy acts
            by code of its own.
    """
    folder = Path(folder).expanduser()
    config = _read_config(folder)
    tensors = read_weights(folder / WEIGHTS)
    where = str(folder / CONFIG)
    if config["acts"] == OWN:
        problem = f"the policy of method {config['method']!r} acts by code of its own ({config['module']})"
        raise InputError(where, problem, "a method whose module acts as one of the package's does")
    if config["acts"] not in (*ACTS, CANDIDATES):
        raise InputError(where, f"'acts' is {config['acts']!r}", f"one of {', '.join([*ACTS, CANDIDATES, OWN])}")
    network = _network(config, tensors, folder)
    mixed = any(name.startswith("theta.") for name in tensors)
    with torch.random.fork_rng(devices=[]):  # the random initial weights must not advance the caller's generator
        acting = OnCandidates(network, mixed) if config["acts"] == CANDIDATES else ACTS[config["acts"]](network)
    expected = acting.state_dict()
    for name, tensor in expected.items():
        array_of(tensors, name, tuple(tensor.shape), tensor.dtype, folder / WEIGHTS)
    acting.load_state_dict({name: tensors[name] for name in expected})
    if isinstance(acting, OnCandidates):
        acting.attach(Retrieval.read(config.get(CANDIDATES), tensors, network, folder / WEIGHTS))
    return SavedPolicy(config["method"], acting, network, config["items"], config["users"])


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``policy.safetensors``, compared with the hash in the ``config.json`` beside it, if any.

    Raises:
        InputError: no such file, it is damaged, or it holds values that are not finite.
    """
    expected = f"the {WEIGHTS} that `ialp pretrain` and `ialp adapt` leave"
    if not path.is_file():
        raise InputError(str(path), "no such file", expected)
    if path.name == WEIGHTS and path.with_name(CONFIG).is_file():
        for damaged, problem in damaged_files(path.parent, _read_config(path.parent)[HASH]):
            raise InputError(str(damaged), problem, expected)
    tensors = read_tensors(path, expected=expected)
    for name, tensor in tensors.items():
        check_finite(tensor, name, path)
    return tensors


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    expected = f"a policy folder with {WEIGHTS} and {CONFIG}, such as RUN/adapt/METHOD/seed-N"
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", expected)
    if not path.is_file():
        old = (folder / WEIGHTS).is_file()
        again = f"{expected}. This one is of an earlier version: delete it and run its stage again"
        raise InputError(str(path), "no such file", again if old else expected)
    config = read_json(path, expected=f"the JSON that training left in {CONFIG}")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        problem = f"is of format {found!r}" if found is not None else "is no description of a policy"
        raise InputError(str(path), problem, f"'format': {FORMAT}")
    kinds = {"method": str, "module": str, "acts": str, "network": dict, "items": list, "users": list, HASH: dict}
    for name, kind in kinds.items():
        if not isinstance(config.get(name), kind):
            raise InputError(str(path), f"{name!r} is {short(config.get(name))}", f"a JSON {kind.__name__}")
    for name in ("items", "users"):
        if not all(isinstance(value, str) for value in config[name]) or len(set(config[name])) < len(config[name]):
            raise InputError(str(path), f"{name!r} holds something else than distinct ids", "each id once, as text")
    if set(config[HASH]) != {WEIGHTS} or not {"bytes", "sha256"} <= set(config[HASH][WEIGHTS]):
        raise InputError(str(path), f"{HASH!r} is {short(config[HASH])}", f"size and SHA-256 of {WEIGHTS}")
    return config


def _network(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> NetworkConfig:
    """The architecture, checked, with the arrays of its features."""
    where, found = str(folder / CONFIG), config["network"]
    missing = [name for name in (*_SIZES, *_FLAGS, *_ARRAYS) if name not in found]
    if missing:
        raise InputError(where, f"'network' has no {', '.join(missing)}", "all fields of the network")
    for name, (low, high) in _SIZES.items():
        if type(found[name]) is not int or not low <= found[name] <= high:
            raise InputError(where, f"{name!r} is {short(found[name])}", f"a whole number from {low} to {high}")
    for name in _FLAGS:
        if type(found[name]) is not bool:
            raise InputError(where, f"{name!r} is {short(found[name])}", "true or false")
    if len(config["items"]) != found["n_items"]:
        raise InputError(where, f"'items' holds {len(config['items'])} ids", f"n_items = {found['n_items']} of them")
    if found["dim"] % found["heads"] or found["mask_recent"] > found["history"]:
        raise InputError(where, "the sizes do not fit together", "heads that divide dim; mask_recent <= history")
    plain = {name: found[name] for name in (*_SIZES, *_FLAGS)}
    return NetworkConfig(**plain, **_features(config, tensors, folder))


def _features(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    """``item_tokens``, ``user_codes`` and ``user_sizes``, those that there are."""
    where, path, network = str(folder / CONFIG), folder / WEIGHTS, config["network"]
    rows, size, sizes = len(config["items"]), network["item_tokens"], network["user_sizes"]
    features: dict[str, Any] = {}
    if size is not None:
        if type(size) is not int or size < 0:
            raise InputError(where, f"'item_tokens' is {short(size)}", "null, or a number of tokens")
        width = tensors[_CODES].shape[-1] if _CODES in tensors and tensors[_CODES].ndim else 0
        codes = array_of(tensors, _CODES, (rows, width), torch.int32, path)
        check_range(codes, size, _CODES, path)
        scale = array_of(tensors, _SCALE, (rows,), torch.float32, path)
        features["item_tokens"] = Tokens(codes.astype(np.int64), size, scale)
    width = network.get("text_vectors")
    if width is not None:
        if type(width) is not int or width < 1:
            raise InputError(where, f"'text_vectors' is {short(width)}", "null, or the size of a vector")
        features["text_vectors"] = array_of(tensors, _VECTORS, (rows, width), torch.float32, path)
    if network["user_codes"]:
        if not isinstance(sizes, list) or not all(type(count) is int and count > 0 for count in sizes):
            raise InputError(where, f"'user_sizes' is {short(sizes)}", "the number of values of each attribute")
        codes = array_of(tensors, _USERS, (len(config["users"]), len(sizes)), torch.int32, path)
        for column, count in enumerate(sizes):
            check_range(codes[:, column], count - 1, _USERS, path)
        features |= {"user_codes": codes.astype(np.int64), "user_sizes": sizes}
    return features
