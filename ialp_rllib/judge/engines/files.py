"""The files of a checkpoint: which hold its weights, and what these are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.sources import INDEXES, SINGLE
from ialp_rllib.storage import read_json


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold the model's weights, of those that transformers chooses among.

    Raises:
        InputError: there are none, or the index names a file that is not there.
    """
    for single, index in zip(SINGLE, INDEXES, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            names = sorted(set(read_object(folder / index).get("weight_map", {}).values()))
            absent = [name for name in names if not (folder / name).is_file()]
            if absent or not names:
                problem = f"names {absent[0]}, which is not there" if absent else "names no file"
                raise InputError(str(folder / index), problem, "all files of the checkpoint")
            return [folder / name for name in names]
    raise InputError(f"judge.model {folder}", "holds no weights", f"one of {', '.join(SINGLE)}, or an index of shards")


def weight_names(folder: Path) -> list[str]:
    """Names of all weights, from the files' headers."""
    return [name for name, _ in weights(folder, meta=True)]


def weights(folder: Path, meta: bool = False, only: Path | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors, one after the other. Pickled files are read by torch's restricted unpickler only.

    Args:
        folder: a model folder.
        meta: without the values.
        only: this file of them.
    """
    for file in [only] if only else weight_files(folder):
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118  # not a mapping
                    yield name, torch.empty(0, device="meta") if meta else opened.get_tensor(name)
        else:
            place = "meta" if meta else "cpu"
            loaded: dict[str, Any] = torch.load(file, map_location=place, weights_only=True, mmap=_zipped(file))
            yield from ((name, value) for name, value in loaded.items() if isinstance(value, torch.Tensor))


def _zipped(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: it is not JSON, or not an object.
    """
    content = read_json(file, expected="a JSON object")
    if not isinstance(content, dict):
        raise InputError(str(file), f"is a {type(content).__name__}", "a JSON object")
    return content
