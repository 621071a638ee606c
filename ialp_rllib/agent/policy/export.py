"""A saved policy as a program of its own, for ``torch.export`` or ONNX: no code of this package is needed to run it.

Input ``observation``: ``(B, 1 + L) int64``, B of any size from 1: the index of the user (0 where the policy knows no
users), then the last L items of the history as indices, the latest last, padded on the left with I. With feedback
levels, an entry is ``item + level * (I + 1)``.

Outputs: ``items``, ``(B, k) int64``, the recommended items, best first, equal ones in the catalogue's order; and
``scores``, ``(B, I) float32``, what they are ranked by: -inf where an item may not be recommended. Where fewer than k
items may be recommended, the last ones of ``items`` have the score -inf.

Beside the program lies ``NAME.json`` with I, L, k and the ids of items and users, in the order of their indices.
"""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.items import Items
from ialp_rllib.agent.policy.networks import Encoder, NetworkConfig, decode_items, masked_items
from ialp_rllib.agent.policy.retrieval import OnCandidates
from ialp_rllib.errors import InputError
from ialp_rllib.storage import write_atomic, write_json

FORMATS = {"torch": ".pt2", "onnx": ".onnx"}
_NEEDED = ("onnx", "onnxscript")


class Exportable(Protocol):
    """What is exported of a :class:`ialp_rllib.agent.policy.recommender.SavedPolicy`."""

    method: str
    acting: nn.Module
    network: NetworkConfig
    item_ids: np.ndarray
    user_ids: np.ndarray


class _Table(nn.Module):
    """Item embeddings as a constant, instead of their computation from ids and attributes."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table.detach().clone())
        self.table: Tensor

    def forward(self) -> Tensor:
        return self.table


class PolicyProgram(nn.Module):
    """The computation that is exported: a copy of a policy without branches that depend on data.

    Args:
        policy: the saved policy.
        k: number of recommended items.
        exclude_history: leave out every item of the observation; False: only those that the policy masks itself.
        for_onnx: use operations that ONNX has.
    """

    def __init__(self, policy: Exportable, k: int, exclude_history: bool = True, for_onnx: bool = False) -> None:
        super().__init__()
        self.acting = copy.deepcopy(policy.acting)
        self.n_items, self.recent = policy.network.n_items, policy.network.mask_recent
        self.k, self.exclude_history, self.for_onnx = k, exclude_history, for_onnx
        for module in list(self.acting.modules()):
            if isinstance(module, Encoder):
                module.trims = False
                if isinstance(module.items, Items):
                    module.items = _Table(module.items())  # type: ignore[assignment]

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 1 + L) int64`` -> items ``(B, k) int64``, scores ``(B, I) float32``."""
        values, _ = self.acting(observation)
        scores = values.scatter(1, masked_items(observation, self.recent, self.n_items), -torch.inf)[:, :-1]
        ranked = scores
        if self.exclude_history:  # "no item" (I) has a column of its own, so that padding excludes nothing
            history = decode_items(observation[:, 1:], self.n_items)
            ranked = values.scatter(1, history, -torch.inf)[:, :-1].minimum(scores)
        if self.for_onnx:  # which has no stable sort, and whose TopK prefers the lower of two equal indices
            return ranked.topk(self.k, dim=1).indices, scores
        return ranked.sort(dim=1, descending=True, stable=True).indices[:, : self.k], scores


def export_policy(
    policy: Exportable, path: str | Path, format: str = "torch", *, k: int = 10, exclude_history: bool = True
) -> Path:
    """Write a policy as a program (see the module's documentation), and its description as JSON beside it.

    Args:
        path: file to write; without a suffix, ``.pt2`` or ``.onnx`` is added.
        format: ``torch``: for :func:`torch.export.load`. ``onnx``: for ONNX runtimes; needs the extra ``[onnx]``.
        k: number of recommended items, 1 to I.
        exclude_history: leave out every item of the observation; False: only those that the policy masks itself.

    Returns:
        The file.

    Raises:
        InputError: the policy acts on candidates, unknown format, ``k`` is out of range, or the packages that write
            ONNX are not installed.
    """
    if format not in FORMATS:
        raise InputError("format", f"is {format!r}", f"one of {', '.join(FORMATS)}")
    if not 1 <= k <= policy.network.n_items:
        raise InputError("k", f"is {k}", f"from 1 to the number of items, {policy.network.n_items}")
    if isinstance(policy.acting, OnCandidates):
        problem = "acts on candidates (agent.candidates), which an index of faiss or of this package finds"
        raise InputError(policy.method, problem, "`ialp export` and `ialp serve`, or agent.candidates.count=0")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if format == "onnx" and missing:
        raise InputError("format", f"onnx needs {' and '.join(missing)}", 'pip install "ialp-rllib[onnx]"')
    file = Path(path).expanduser()
    file = file if file.suffix else file.with_suffix(FORMATS[format])
    file.parent.mkdir(parents=True, exist_ok=True)
    program = PolicyProgram(policy, k, exclude_history, for_onnx=format == "onnx").eval()
    write = _write_onnx if format == "onnx" else _write_torch
    write_atomic(file, lambda temporary: write(program, _example(policy), temporary))
    write_json(file.with_name(file.name + ".json"), _description(policy, format, k, exclude_history))
    return file


def _example(policy: Exportable) -> Tensor:
    return torch.full((2, 1 + policy.network.history), policy.network.n_items).index_fill(1, torch.tensor(0), 0)


def _shapes() -> dict[str, dict[int, torch.export.Dim]]:
    return {"observation": {0: torch.export.Dim("batch", min=1)}}


@torch.no_grad()
def _write_torch(program: PolicyProgram, observation: Tensor, path: Path) -> None:
    exported = torch.export.export(program, (observation,), dynamic_shapes=_shapes())
    with path.open("wb") as file:
        torch.export.save(exported, file)


@torch.no_grad()
def _write_onnx(program: PolicyProgram, observation: Tensor, path: Path) -> None:
    torch.onnx.export(
        program,
        (observation,),
        str(path),
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["observation"],
        output_names=["items", "scores"],
        dynamic_shapes=_shapes(),
    )


def _description(policy: Exportable, format: str, k: int, exclude_history: bool) -> dict[str, object]:
    network = policy.network
    return {
        "format": format,
        "method": policy.method,
        "input": {"observation": ["batch", 1 + network.history]},
        "outputs": {"items": ["batch", k], "scores": ["batch", network.n_items]},
        "n_items": network.n_items,
        "history": network.history,
        "mask_recent": network.mask_recent,
        "feedback": network.feedback,
        "exclude_history": exclude_history,
        "items": policy.item_ids.tolist(),
        "users": policy.user_ids.tolist(),
    }
