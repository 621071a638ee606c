"""Engines that cannot run a model, models that cannot be padded, and a full GPU."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines import choose, memory
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.warm_up import EngineError, warm_up


class Memory:
    """Has a model run out of memory for batches above a size, on a hook of its forward pass."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, module, inputs, options) -> None:
        self.sizes.append(len(options["input_ids"]))
        if self.sizes[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("shares", [True, False])
def test_batches_are_halved_when_the_gpu_is_full(shares, judge, builder, examples, caplog, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    prompts = builder.build(examples.history[:12], examples.candidates[:12])
    engine = TransformersEngine(dataclasses.replace(judge, batch_tokens=1 << 20), builder, resolve_model("tiny"))
    engine.packed.shares = shares
    expected, little = engine.ask(prompts), Memory(5)
    engine.model.register_forward_pre_hook(little, with_kwargs=True)
    with caplog.at_level(logging.WARNING):
        output = engine.ask(prompts)
    np.testing.assert_allclose(output.logprobs, expected.logprobs, atol=1e-5)
    assert not output.refused and output.tokens == expected.tokens
    assert little.sizes == [12, 6, 3, 3, 3, 3] and caplog.text.count("out of memory: batches of at most") == 2
    little.sizes.clear()
    np.testing.assert_allclose(engine.ask(prompts).logprobs, expected.logprobs, atol=1e-5)
    assert max(little.sizes) <= 5, "later batches are smaller from the start"
    little.most = 0
    refused = engine.ask(prompts[:3])
    assert sorted(refused.refused) == [0, 1, 2] and "out of memory" in refused.refused[0]
    assert np.isnan(refused.logprobs).all()


class Broken:
    """An engine that fails with an error of a library, or gives no numbers."""

    prompt_tokenizer = SimpleNamespace(labels=[1, 2])

    def __init__(self, output) -> None:
        self.output = output

    def ask(self, prompts):
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


def test_what_the_first_prompt_finds(transformers_engine, builder):
    with pytest.raises(EngineError, match=r"Broken engine cannot run it \(head size 16\)") as caught:
        warm_up(Broken(RuntimeError("head size 16\nmore")), builder, "m")
    assert "judge.engine=transformers" in caught.value.expected
    with pytest.raises(InputError, match="another one of ours"):
        warm_up(Broken(InputError("here", "another one of ours")), builder, "m")
    output = transformers_engine.ask([builder.stem])
    with pytest.raises(InputError, match="not numbers"):
        warm_up(Broken(output._replace(logprobs=output.logprobs * np.nan)), builder, "m")
    with pytest.raises(InputError, match="refused: too long"):
        warm_up(Broken(output._replace(refused={0: "too long"})), builder, "m")


def test_auto_falls_back_and_a_choice_does_not(judge, builder, monkeypatch, caplog):
    pytest.importorskip("vllm")

    def fail(*_):
        raise EngineError("judge.model tiny", "the vLLM engine cannot serve it (head size 16)", "transformers")

    monkeypatch.setattr(choose, "VllmEngine", fail)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(dataclasses.replace(judge, engine="auto"), builder, "tiny")
    assert isinstance(engine, TransformersEngine) and "head size 16" in caplog.text
    with pytest.raises(InputError, match="head size 16"):
        make_engine(dataclasses.replace(judge, engine="vllm"), builder, "tiny")


@pytest.mark.slow
def test_a_head_size_that_vllm_does_not_have_is_found_at_load(tiny: Path, judge, builder, prompts, caplog):
    pytest.importorskip("vllm")
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "head_dim": 16,
    }
    config = AutoConfig.for_model("llama", vocab_size=640, num_key_value_heads=2, max_position_embeddings=2048, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tiny)
    with pytest.raises(InputError) as caught:
        make_engine(dataclasses.replace(judge, engine="vllm"), builder, str(tiny))
    assert (
        "vLLM" in caught.value.problem.replace("Vllm", "vLLM") and "judge.engine=transformers" in caught.value.expected
    )
    with caplog.at_level(logging.WARNING):
        engine = make_engine(dataclasses.replace(judge, engine="auto"), builder, str(tiny))
    assert isinstance(engine, TransformersEngine) and "using the transformers engine" in caplog.text
    assert np.isfinite(engine.ask(prompts).logprobs).all()


@pytest.mark.parametrize("kind", ["gpt2", "bloom", "mpt", "mamba", "opt", "gemma2"])
def test_architectures_answer_as_one_prompt_alone(kind: str, tiny: Path, judge, builder, prompts):
    """Some take no positions, no mask, or no request for the last position only."""
    sizes = {
        "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 2},
        "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 2},
        "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 2},
        "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
        "opt": {
            "hidden_size": 64,
            "ffn_dim": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "word_embed_proj_dim": 64,
        },
        "gemma2": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "sliding_window": 64,
        },
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=640, **sizes[kind])).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "log" not in name and "conv" not in name:
                weight.normal_(0, 0.2)
    (tiny / "model.safetensors").unlink()
    model.save_pretrained(tiny)
    engine = TransformersEngine(judge, builder, str(tiny))
    ids = engine.prompt_tokenizer.encode(prompts)
    assert len(set(map(len, ids))) > 1 or kind != "gpt2"
    logprobs = engine.ask(prompts).logprobs
    for row, tokens in enumerate(ids):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0, -1, engine.prompt_tokenizer.labels]
        np.testing.assert_allclose(np.exp(logprobs[row]), torch.softmax(logits, 0).numpy(), atol=1e-5)


def test_attention_that_vllm_computes_only_roughly_on_a_cpu(tiny: Path, judge, builder, monkeypatch):
    vllm = pytest.importorskip("vllm")
    monkeypatch.setattr(vllm, "LLM", lambda **_: pytest.fail("vLLM was started"))
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    }
    config = AutoConfig.for_model("gemma2", vocab_size=640, intermediate_size=96, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tiny)
    with pytest.raises(EngineError, match="attn_logit_softcapping"):
        make_engine(dataclasses.replace(judge, engine="vllm"), builder, str(tiny))
    engine = make_engine(dataclasses.replace(judge, engine="auto"), builder, str(tiny))
    assert isinstance(engine, TransformersEngine)
