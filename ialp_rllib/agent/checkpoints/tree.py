"""State as nested Python data, taken apart into JSON and tensors and put together again without pickle.

What can be expressed: None, bool, int, float, str, list, tuple, dict, NumPy arrays and scalars, and torch tensors. They
come back with the same types and, to the bit, the same values. Reading builds no other types, whatever the files hold.

In JSON, an object with the key ``$`` stands for what JSON does not have: ``tuple`` and ``dict`` (with keys other than
text), ``int`` (beyond 2^53, as text), ``float`` (not finite), and ``array``, ``scalar`` and ``tensor``, by their names
among the tensors.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.errors import InputError

TAG = "$"
_EXACT = 2**53  # larger whole numbers are rounded by readers of JSON that know float64 only
_SIGNED = (torch.int8, torch.int16, torch.int32, torch.int64)
_UNSIGNED = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
_DTYPES = {*_SIGNED, *_UNSIGNED, torch.float16, torch.bfloat16, torch.float32, torch.float64}
EXPECTED = "None, bool, int, float, str, list, tuple, dict, NumPy arrays of numbers, or dense torch tensors"


def take_apart(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON data of ``state``; its arrays are added to ``tensors``, on the CPU.

    Args:
        name: of the state; names of tensors begin with it.
        tensors: name -> tensor, extended in place.

    Raises:
        InputError: a part of the state is of another type.
    """
    kind = type(state)
    if state is None or kind in (bool, str):
        return state
    if kind is int:
        return state if abs(state) < _EXACT else {TAG: "int", "value": str(state)}
    if kind is float:
        return state if math.isfinite(state) else {TAG: "float", "value": repr(state)}
    if kind is list:
        return [take_apart(value, f"{name}/{i}", tensors) for i, value in enumerate(state)]
    if kind is tuple:
        return {TAG: "tuple", "items": [take_apart(value, f"{name}/{i}", tensors) for i, value in enumerate(state)]}
    if kind in (dict, OrderedDict):
        return _take_apart_dict(state, name, tensors)
    if kind is np.ndarray:
        return {TAG: "array", "name": _add(_from_numpy(state, name), name, tensors)}
    if isinstance(state, np.generic):
        return {TAG: "scalar", "name": _add(_from_numpy(np.asarray(state), name), name, tensors)}
    if isinstance(state, Tensor):
        return {TAG: "tensor", "name": _add(state, name, tensors)}
    raise _unknown(state, name)


def _take_apart_dict(state: Mapping[Any, Any], name: str, tensors: dict[str, Tensor]) -> Any:
    if all(type(key) is str for key in state) and TAG not in state:
        return {key: take_apart(value, f"{name}/{key}", tensors) for key, value in state.items()}
    for key in state:
        if type(key) not in (str, int, bool, float, tuple):
            raise _unknown(key, f"a key of {name}")
    pairs = [
        [take_apart(key, f"{name}/key", tensors), take_apart(value, f"{name}/{key}", tensors)]
        for key, value in state.items()
    ]
    return {TAG: "dict", "items": pairs}


def _from_numpy(array: np.ndarray, name: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))  # a copy: torch warns of arrays that are read-only
    except TypeError:
        raise _unknown(array, name) from None


def _add(tensor: Tensor, name: str, tensors: dict[str, Tensor]) -> str:
    if tensor.layout != torch.strided or tensor.dtype not in _DTYPES:
        raise _unknown(tensor, name)
    unique = name
    while unique in tensors:
        unique += "'"
    tensors[unique] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return unique


def _unknown(state: Any, name: str) -> InputError:
    kind = f"{type(state).__module__}.{type(state).__qualname__}"
    if isinstance(state, np.ndarray | Tensor):
        kind += f" of {state.dtype}"
    return InputError(f"checkpoint, state {name!r}", f"a {kind} cannot be written without running code", EXPECTED)


def put_together(data: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that :func:`take_apart` took apart.

    Raises:
        ValueError, KeyError: the data are not of that form, or a tensor is missing.
    """
    if isinstance(data, list):
        return [put_together(value, tensors) for value in data]
    if not isinstance(data, dict):
        return data
    if TAG not in data:
        return {key: put_together(value, tensors) for key, value in data.items()}
    kind = data[TAG]
    if kind == "tuple":
        return tuple(put_together(value, tensors) for value in data["items"])
    if kind == "dict":
        return {put_together(key, tensors): put_together(value, tensors) for key, value in data["items"]}
    if kind in ("int", "float"):
        return int(data["value"]) if kind == "int" else float(data["value"])
    tensor = tensors[data["name"]]
    if kind == "tensor":
        return tensor
    if kind in ("array", "scalar"):
        return tensor.numpy() if kind == "array" else tensor.numpy()[()]
    raise ValueError(f"unknown kind of data {kind!r}")
