"""Label tokens, agreement of the two engines, and errors for unsuitable models."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import model_fingerprint, resolve_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.judge import local_judge
from ialp_rllib.judge.prompt.labels import label_tokens
from ialp_rllib.judge.prompt.lines import LineBuilder


def label_entropy(logprobs: np.ndarray) -> float:
    p = np.bincount(logprobs.argmax(1), minlength=11) / len(logprobs)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def assert_agree(first, second, builder, examples, n: int) -> None:
    prompts = builder.build(examples.history[:n], examples.candidates[:n])
    a, b = first.ask(prompts).logprobs, second.ask(prompts).logprobs
    assert label_entropy(a) > 2.0, "agreement is trivial if all prompts have the same label"
    np.testing.assert_array_equal(a.argmax(1), b.argmax(1))
    np.testing.assert_allclose(a, b, atol=2e-3)
    np.testing.assert_allclose(np.exp(a).sum(1), 1.0, atol=1e-4)
    np.testing.assert_allclose(np.exp(b).sum(1), 1.0, atol=1e-4)


def test_engines_agree(vllm_engine, transformers_engine, builder, examples):
    assert_agree(vllm_engine, transformers_engine, builder, examples, 128)
    assert vllm_engine.fingerprint == transformers_engine.fingerprint


@pytest.mark.parametrize("answers", [(), (" a", " b")], ids=["likelihood", "labels behind each continuation"])
def test_engines_agree_on_packed_queries(vllm_engine, transformers_engine, sample, catalogue, examples, answers):
    lines = LineBuilder(catalogue, sample.judge, sample.catalogue.attributes)
    queries = lines.build(examples.history[:12], examples.candidates[:12])
    queries[3] = queries[2]  # vLLM finds all of it in its prefix cache
    queries = [query._replace(answers=answers) for query in queries]
    a, b = (engine.ask(queries) for engine in (vllm_engine, transformers_engine))
    np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
    assert a.logprobs.shape == (12, 20) and np.ptp(a.logprobs[:, ::2]) > 0.05 and not a.refused
    long = queries[0]._replace(prefix=queries[0].prefix * 60)
    assert list(vllm_engine.ask([long, queries[1]]).refused) == [0]


@pytest.mark.slow
def test_engines_agree_on_1000(vllm_engine, transformers_engine, builder, examples):
    assert_agree(vllm_engine, transformers_engine, builder, examples, 1000)


def test_vllm_is_deterministic(vllm_engine, builder, examples):
    prompts = builder.build(examples.history[:48], examples.candidates[:48])
    first = vllm_engine.ask(prompts).logprobs
    vllm_engine.ask(prompts[::-2])
    np.testing.assert_array_equal(first, vllm_engine.ask(prompts).logprobs)


def test_padding_does_not_change_logprobs(transformers_engine, builder, examples):
    prompts = builder.build(examples.history[:16], examples.candidates[:16])
    alone = np.concatenate([transformers_engine.ask([p]).logprobs for p in prompts])
    np.testing.assert_allclose(transformers_engine.ask(prompts).logprobs, alone, atol=1e-4)


def test_accuracy_on_test_users(transformers_engine, builder, examples):
    logprobs = transformers_engine.ask(builder.build(examples.history[:300], examples.candidates[:300])).logprobs
    assert (logprobs.argmax(1) == examples.label[:300]).mean() >= 0.70


def test_label_tokens_in_context(transformers_engine, builder):
    tokenizer = transformers_engine.prompt_tokenizer.tokenizer
    tokens = label_tokens(tokenizer, builder.stem, builder.labels, "tiny")
    assert [tokenizer.decode([t]) for t in tokens] == builder.labels


def test_labels_of_several_tokens_are_rejected(tmp_path: Path, sample, catalogue):
    shutil.copytree(resolve_model("tiny"), tmp_path / "model")
    bytes_only = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="!").save_pretrained(tmp_path / "model")
    with pytest.raises(InputError) as caught:
        local_judge(dataclasses.replace(sample.judge, engine="transformers"), catalogue, str(tmp_path / "model"))
    assert str(tmp_path / "model") in caught.value.where
    assert "' a'" in caught.value.where
    assert "2 tokens" in caught.value.problem
    assert "one token of each label" in caught.value.expected


def test_missing_and_broken_models(tmp_path: Path, sample, catalogue):
    judge = dataclasses.replace(sample.judge, engine="transformers")
    with pytest.raises(InputError, match="no such folder"):
        local_judge(judge, catalogue, str(tmp_path / "missing"))
    with pytest.raises(InputError, match=r"no config\.json"):
        local_judge(judge, catalogue, str(tmp_path))
    broken = tmp_path / "broken"
    shutil.copytree(resolve_model("tiny"), broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        local_judge(judge, catalogue, str(broken))
    (broken / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(InputError, match="cannot be loaded"):
        local_judge(judge, catalogue, str(broken))


@pytest.mark.parametrize("kind", [TransformersEngine, VllmEngine])
def test_too_long_prompt_is_refused_alone(kind, sample, builder, examples):
    if kind is VllmEngine:
        pytest.importorskip("vllm")
    prompts = builder.build(examples.history[:8], examples.candidates[:8])
    engine = kind(dataclasses.replace(sample.judge, max_length=300), builder, resolve_model("tiny"))
    output = engine.ask([*prompts[:3], prompts[3] * 3, *prompts[4:]])
    others = engine.ask([*prompts[:3], *prompts[4:]])
    engine.close()
    assert list(output.refused) == [3]
    assert re.match(r"\d+ tokens, at most 300 fit", output.refused[3])
    assert np.isnan(output.logprobs[3]).all()
    np.testing.assert_allclose(np.delete(output.logprobs, 3, 0), others.logprobs, atol=1e-4)
    assert output.tokens == others.tokens > 0


def test_batches_respect_the_token_budget(sample, builder):
    settings = dataclasses.replace(sample.judge, batch=4, batch_tokens=1000)
    engine = TransformersEngine(settings, builder, resolve_model("tiny"))
    lengths = dict(enumerate([900, 10, 300, 400, 20, 30, 40, 50, 600]))
    batches = list(engine._batches({row: [0] * length for row, length in lengths.items()}))
    assert sorted(row for batch in batches for row in batch) == list(range(9))
    assert all(len(b) <= 4 and len(b) * max(lengths[r] for r in b) <= 1000 for b in batches)
    assert [lengths[r] for b in batches for r in b] == sorted(lengths.values())


def test_fingerprint_covers_the_weights(tmp_path: Path):
    shutil.copytree(resolve_model("tiny"), tmp_path / "model")
    assert model_fingerprint(str(tmp_path / "model")) == model_fingerprint(resolve_model("tiny"))
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_fingerprint(str(tmp_path / "model")) != model_fingerprint(resolve_model("tiny"))
