"""Text vectors: pooling, batches, what is refused, and what is kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines import vectors
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.vectors import described, encoder_content, find_encoder, text_vectors, token_vectors
from tests.judge.encoders import write_encoder

MEAN, CLS = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, {"pooling_mode_cls_token": True}


@pytest.fixture(scope="module")
def texts(catalogue) -> list[str]:
    return described(catalogue)


@pytest.mark.parametrize("modules", [None, {"Pooling": MEAN, "Normalize": {}}, {"Pooling": CLS}], ids=str)
def test_vectors_in_batches_are_those_of_one_text_at_a_time(catalogue, texts, tmp_path: Path, modules) -> None:
    folder = write_encoder(tmp_path / "encoder", texts, modules)
    found = text_vectors(catalogue, str(folder))
    assert found.shape == (catalogue.n_items, 16) and found.dtype == np.float32
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for item in (0, 17, 299):
        with torch.no_grad():
            hidden = model(**tokenizer(texts[item], return_tensors="pt")).last_hidden_state[0]
        expected = hidden[0] if modules and modules["Pooling"] is CLS else hidden.mean(0)
        np.testing.assert_allclose(found[item], expected / expected.norm(), atol=1e-5)


def test_what_is_no_encoder_is_refused(texts, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_encoder(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"config\.json"):
        find_encoder(str(tmp_path))
    dense = write_encoder(tmp_path / "dense", texts, {"Pooling": MEAN, "Dense": {}})
    with pytest.raises(InputError, match="Dense"):
        find_encoder(str(dense))
    largest = write_encoder(tmp_path / "max", texts, {"Pooling": {"pooling_mode_max_tokens": True}})
    with pytest.raises(InputError, match="pooling_mode_max_tokens"):
        find_encoder(str(largest))


def test_damaged_weights_are_refused(catalogue, texts, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", texts)
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.output.dense.bias"
    save_file({**weights, name: weights[name] * float("nan")}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="not finite"):
        text_vectors(catalogue, str(folder))
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="missing"):
        text_vectors(catalogue, str(folder))


def test_vectors_are_computed_once_and_again_if_damaged(
    catalogue, texts, cache: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    folder = write_encoder(tmp_path / "encoder", texts)
    first = text_vectors(catalogue, str(folder))
    with monkeypatch.context() as patch:
        patch.setattr(vectors, "encode", lambda *arguments: pytest.fail("computed again"))
        assert np.array_equal(text_vectors(catalogue, str(folder)), first)
    (file,) = cache.with_name("vectors").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(text_vectors(catalogue, str(folder)), first)
    assert "damaged" in caplog.text
    before = encoder_content(str(folder))
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("0.1", "0.2"))
    assert encoder_content(str(folder)) != before


def test_token_vectors_are_means_of_a_language_models_embeddings(catalogue, texts) -> None:
    tiny = resolve_model("tiny")
    found = token_vectors(catalogue, tiny)
    assert found.shape[0] == catalogue.n_items and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    table = load_file(Path(tiny) / "model.safetensors")["model.embed_tokens.weight"]
    ids = AutoTokenizer.from_pretrained(tiny).encode(texts[5], add_special_tokens=False)
    expected = table[ids].float().mean(0)
    np.testing.assert_allclose(found[5], expected / expected.norm(), atol=1e-5)
