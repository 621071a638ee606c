"""State as JSON and tensors: equal to the bit after a round trip, and no other types."""

from __future__ import annotations

import json
import math
import random
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ialp_rllib.agent.checkpoints.tree import TAG, put_together, take_apart
from ialp_rllib.agent.policy.generators import generator_states, set_generator_states
from ialp_rllib.errors import InputError


def round_trip(state: Any, folder: Path) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    data = json.dumps(take_apart(state, "s", tensors), allow_nan=False)
    save_file(tensors, folder / "s.safetensors")
    return put_together(json.loads(data), load_file(folder / "s.safetensors"))


def equal(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, torch.Tensor):
        same = left.dtype == right.dtype and left.shape == right.shape
        return same and left.contiguous().flatten().view(torch.uint8).equal(right.flatten().view(torch.uint8))
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    return bool(left == right) or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@pytest.mark.parametrize(
    "state",
    [
        None,
        [True, 0, -5, 2**53, -(2**200), 1.5, -0.0, 1e-320, math.nan, math.inf, -math.inf, "text", ""],
        {"a": (1, (2, [3])), "b": {}, "": [], TAG: "int"},
        {1: "one", (2, "x"): None, False: 0.5},
        np.arange(6, dtype=np.int32).reshape(2, 3).T,
        [np.zeros((0, 3), bool), np.array(5.0), np.float32(0.1), np.int64(7), np.bool_(True)],
        [np.array([1, 2], np.uint16), np.array([2**63], np.uint64), np.array([1.5], np.float16)],
        [torch.tensor(float("nan")), torch.randn(3, 4).t(), torch.ones(2, dtype=torch.bfloat16)],
        np.random.default_rng(3).bit_generator.state,
    ],
)
def test_round_trip_is_exact(state: Any, tmp_path: Path) -> None:
    assert equal(round_trip(state, tmp_path), state)


def test_parts_of_one_tensor_are_kept_apart(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    again = round_trip({"a": whole, "b": whole[2:4], "c/d": whole, "c": {"d": whole[:1]}}, tmp_path)
    assert equal(again, {"a": whole, "b": whole[2:4], "c/d": whole, "c": {"d": whole[:1]}})


def test_ordered_dictionaries_become_plain_ones(tmp_path: Path) -> None:
    assert equal(round_trip(OrderedDict(b=1, a=2), tmp_path), {"b": 1, "a": 2})


class Own:
    """A plugin's own type."""


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    "part",
    [
        *(Own(), Own, deque([1]), {1}, b"bytes", defaultdict(int), Pair(1, 2), 1j, Path("x"), print, range(3)),
        *(np.array(["text"]), np.array([Own()]), np.array([1j]), np.datetime64("2020-01-01")),
        *(torch.zeros(2, 2).to_sparse(), torch.zeros(1, dtype=torch.complex64)),
        {Own(): 1},
    ],
)
def test_other_types_are_refused_by_name(part: Any) -> None:
    with pytest.raises(InputError, match=r"checkpoint, state .*buffer/own.*cannot be written without running code"):
        take_apart({"buffer": {"own": part}}, "replay", {})


@pytest.mark.parametrize("data", [{TAG: "object"}, {TAG: "call", "name": "x"}, {TAG: "dict"}, {TAG: "tensor"}])
def test_unknown_data_build_nothing(data: Any) -> None:
    with pytest.raises((KeyError, ValueError)):
        put_together(data, {"x": torch.zeros(1)})


def test_random_generators_go_on(tmp_path: Path) -> None:
    def draw() -> list[Any]:
        return [torch.rand(3), np.random.normal(size=3), random.random()]

    draw()
    states = round_trip(generator_states(), tmp_path)
    expected = draw()
    draw()
    set_generator_states(states)
    assert equal(draw(), expected)
