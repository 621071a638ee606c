"""Exported programs recommend and score as the policy does, without the package; edges of the catalogue's size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.acting import ACTS
from ialp_rllib.agent.policy.exploration import require_allowed, require_items
from ialp_rllib.agent.policy.export import PolicyProgram
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.recommender import SavedPolicy
from ialp_rllib.agent.policy.saved import load_policy, save_policy
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.errors import IalpError, InputError

N, L = 20, 6
FEATURES = {
    "item_tokens": tokens_of({"colour": np.array(["red", "deep blue", "light blue", "red"] * 5)}),
    "user_codes": np.arange(12).reshape(6, 2) % 3,
    "user_sizes": [3, 3],
    "feedback": 3,
}


def make_policy(folder: Path, acts: str = "softmax", n_items: int = N, recent: int = 2, **features: Any) -> SavedPolicy:
    """A policy with random weights, through its files."""
    folder.mkdir(exist_ok=True)
    network = NetworkConfig(n_items, L, dim=8, mask_recent=recent, **features)
    torch.manual_seed(3)
    acting = ACTS[acts](network)
    weights = {name: torch.rand_like(tensor) - 0.3 for name, tensor in acting.state_dict().items()}
    weights = {
        name: abs(tensor) if name in ("scores", "alpha", "epsilon") else tensor for name, tensor in weights.items()
    }
    save_policy(folder, weights, method="a2c", acts=acts, network=network)
    return load_policy(folder)


def sessions(policy: SavedPolicy, count: int) -> tuple[list[list[int]], dict[str, Any]]:
    rng, n = np.random.default_rng(0), policy.network.n_items
    histories = [rng.integers(n, size=rng.integers(0, L + 1)).tolist() for _ in range(count)]
    options: dict[str, Any] = {"users": rng.integers(6, size=count).tolist()} if policy.network.user_sizes else {}
    if policy.network.feedback:
        options["answers"] = [rng.integers(4, size=len(history)).tolist() for history in histories]
    return histories, options


RUN = """
import sys, torch, numpy
sys.modules["ialp_rllib"] = None
program = torch.export.load(sys.argv[1]).module()
observation = torch.from_numpy(numpy.load(sys.argv[2]))
parts = [program(observation[:n]) for n in (1, 2, len(observation))]
found = {f"{name}{i}": part[j].numpy() for i, part in enumerate(parts) for j, name in enumerate("is")}
numpy.savez(sys.argv[3], **found)
"""


def check_outputs(policy: SavedPolicy, run: Any, exclude: bool = True) -> None:
    """``run``: observations -> items and scores, as arrays."""
    histories, options = sessions(policy, 64)
    observation, _ = policy._observe(histories, options.get("users"), options.get("answers"), True)
    expected = policy.recommend_many(histories, 5, exclude_history=exclude, indices=True, **options)
    scores = policy.scores_many(histories, indices=True, **options)
    for size in (1, 2, 64):
        items, values = run(observation[:size])
        assert items.shape == (size, 5)
        assert [row.tolist() for row in items] == expected[:size]
        masked = np.isneginf(scores[:size])
        assert np.array_equal(np.isneginf(values), masked)
        assert np.allclose(values[~masked], scores[:size][~masked], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("acts", ACTS)
@pytest.mark.parametrize("exclude", [True, False])
def test_the_program_acts_as_the_policy(acts: str, exclude: bool, tmp_path: Path) -> None:
    policy = make_policy(tmp_path, acts, **(FEATURES if acts != "scores" else {}))
    program = PolicyProgram(policy, 5, exclude)

    def run(observation: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            items, scores = program(observation)
        return items.numpy(), scores.numpy()

    check_outputs(policy, run, exclude)


def test_a_policy_with_text_vectors_is_a_program(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    policy = make_policy(tmp_path, text_vectors=vectors)
    program = PolicyProgram(policy, 5)
    assert not any("project" in name for name in program.state_dict())  # a table of embeddings, no vectors
    with torch.no_grad():
        check_outputs(policy, lambda observation: tuple(part.numpy() for part in program(observation)))


@pytest.mark.parametrize("acts", ["mixture", *(pytest.param(acts, marks=pytest.mark.slow) for acts in ("q", "scores"))])
def test_a_torch_program_in_a_process_of_its_own(acts: str, tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy", acts, **(FEATURES if acts != "scores" else {}))
    file = policy.export(tmp_path / "program", k=5)
    assert file == tmp_path / "program.pt2"
    histories, options = sessions(policy, 64)
    observation, _ = policy._observe(histories, options.get("users"), options.get("answers"), True)
    np.save(tmp_path / "in.npy", observation.numpy())
    script = [sys.executable, "-c", RUN, str(file), str(tmp_path / "in.npy"), str(tmp_path / "out.npz")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    found = {len(out[f"i{index}"]): (out[f"i{index}"], out[f"s{index}"]) for index in range(3)}
    check_outputs(policy, lambda observation: found[len(observation)])
    described = json.loads((tmp_path / "program.pt2.json").read_text())
    assert described["items"] == policy.item_ids.tolist() and described["history"] == L and described["n_items"] == N
    assert described["outputs"] == {"items": ["batch", 5], "scores": ["batch", N]}


@pytest.mark.parametrize("acts", ACTS)
def test_an_onnx_program(acts: str, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    import onnxruntime

    policy = make_policy(tmp_path / "policy", acts, **(FEATURES if acts != "scores" else {}))
    file = policy.export(tmp_path / "program", "onnx", k=5)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    check_outputs(policy, lambda observation: session.run(["items", "scores"], {"observation": observation.numpy()}))


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(tmp_path / "policy")
    for options, message in (
        ({"format": "tf"}, "one of torch, onnx"),
        ({"k": 21}, "from 1 to"),
        ({"k": 0}, "from 1 to"),
    ):
        with pytest.raises(InputError, match=message):
            policy.export(tmp_path / "program", **options)
    monkeypatch.setattr("ialp_rllib.agent.policy.export.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"onnx and onnxscript\n.*ialp-rllib\[onnx\]"):
        policy.export(tmp_path / "program", "onnx")
    assert not list(tmp_path.glob("program*"))


@pytest.mark.parametrize("n_items", [1, 2, 3])
@pytest.mark.parametrize("recent", [0, 1, 2, -1])
@pytest.mark.parametrize("acts", ACTS)
def test_small_catalogues_give_allowed_items_or_none(n_items: int, recent: int, acts: str, tmp_path: Path) -> None:
    tokens = tokens_of({"name": np.array([f"item {index}" for index in range(n_items)])})
    policy = make_policy(tmp_path, acts, n_items, recent, item_tokens=tokens)
    for history in ([], [0], [0] * 5, [*range(n_items)]):
        masked = set(history[-L:] if recent < 0 else history[max(0, len(history) - recent) :])
        allowed = set(range(n_items)) - masked
        assert set(policy.recommend(history, 9, exclude_history=False, indices=True)) == allowed
        assert set(policy.recommend(history, 9, indices=True)) == set(range(n_items)) - set(history)
        if allowed:
            probs = policy.probabilities(history, indices=True)
            assert probs.sum() == pytest.approx(1, abs=1e-6) and set(np.flatnonzero(probs)) <= allowed
        else:
            with pytest.raises(InputError, match=f"leaves 0 of the {n_items} items"):
                policy.probabilities(history, indices=True)


def test_too_few_allowed_items_are_an_error() -> None:
    observation = torch.tensor([[0, 5, 5, 1, 2], [0, 0, 1, 2, 3]])  # 5: no item
    require_allowed(observation, -1, 5, 1)
    require_allowed(observation, 2, 5, 3)
    for recent, k in ((-1, 2), (2, 4), (4, 2)):
        with pytest.raises(InputError, match=f"leaves {5 - (4 if recent in (-1, 4) else 2)} of the 5 items"):
            require_allowed(observation, recent, 5, k)
    assert require_items(torch.tensor([0, 4]), 5).tolist() == [0, 4]
    for index in (5, 6):
        with pytest.raises(IalpError, match="not finite"):
            require_items(torch.tensor([0, index]), 5)
