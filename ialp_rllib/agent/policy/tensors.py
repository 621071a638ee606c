"""Checks of tensors and values that were read from the files of a saved policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.errors import InputError


def array_of(
    tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype, path: Path
) -> np.ndarray:
    """A tensor of this name, shape and type, as an array."""
    expected = f"{str(dtype).removeprefix('torch.')} of shape {list(shape)}, as config.json says"
    if name not in tensors:
        raise InputError(str(path), f"has no tensor {name!r}", expected)
    tensor = tensors[name]
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(str(path), f"{name!r} is {kind} of shape {list(tensor.shape)}", expected)
    array: np.ndarray = tensor.numpy()
    return array


def check_finite(tensor: Tensor, name: str, path: Path) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InputError(str(path), f"{name!r} holds values that are not finite", "a policy whose training converged")


def check_range(codes: np.ndarray, highest: int, name: str, path: Path) -> None:
    if ((codes < 0) | (codes > highest)).any():
        raise InputError(str(path), f"{name!r} holds unknown codes", f"codes from 0 to {highest}")


def short(value: Any) -> str:
    return repr(value)[:100]
