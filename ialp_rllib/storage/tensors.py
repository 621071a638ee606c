"""Safetensors files of a user's folder: what is missing, damaged, or another file than expected is an input error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from ialp_rllib.errors import InputError
from ialp_rllib.storage.files import first_line, require_file

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_tensors(path: Path, names: Iterable[str] = (), expected: str = "") -> dict[str, Tensor]:
    """The tensors of a file, for torch.

    Args:
        names: of tensors that it must hold.
        expected: what would be right, for the message; empty: what the stage that wrote it left.

    Raises:
        InputError: no such file, it is no safetensors file or damaged, or a tensor is missing.
    """
    from safetensors.torch import load_file

    return _read(load_file, path, names, expected)


def read_arrays(path: Path, names: Iterable[str] = (), expected: str = "") -> dict[str, np.ndarray]:
    """As :func:`read_tensors`, as arrays of NumPy."""
    from safetensors.numpy import load_file

    return _read(load_file, path, names, expected)


def _read(load: Callable[[Path], dict[str, Any]], path: Path, names: Iterable[str], expected: str) -> dict[str, Any]:
    expected = require_file(path, "a safetensors file", expected)
    try:
        found = load(path)
    # KeyError: a type of numbers that NumPy does not have; ValueError, EOFError: an empty file, on some systems.
    except (SafetensorError, OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(str(path), f"cannot be read as safetensors ({first_line(error)})", expected) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(str(path), f"holds no {', '.join(missing)} (but {_named(found)})", expected)
    return found


def fill_from(module: nn.Module, weights: Mapping[str, Any], path: Path, expected: str = "") -> None:
    """Copy weights that were read from ``path`` into a module.

    Raises:
        InputError: they are those of another one: a name or a size differs.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        problem = f"does not fit these settings ({' '.join(str(error).split())[:300]})"
        raise InputError(str(path), problem, expected or f"what was written with them; delete {path.parent}") from error


def _named(tensors: Mapping[str, Any]) -> str:
    names = sorted(tensors)
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "nothing"
