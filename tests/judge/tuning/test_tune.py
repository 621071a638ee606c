"""LoRA tuning: effect on test users, output files, and settings."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_model, load_tokenizer, resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.data import LabelledPrompts
from ialp_rllib.judge.tuning.losses import mean_loss
from ialp_rllib.judge.tuning.tune import model_with_adapter, tune_judge
from tests.judge.tuning.small import adapter, checkpoint, learn, small_judge

LAYERS = 4
SHAPES = {"q_proj": (128, 128), "v_proj": (128, 64)}  # of the tiny judge


@pytest.fixture(scope="module")
def five(sample):
    """Five candidates: with these None is f, which the tiny judge has never seen."""
    tune = dataclasses.replace(sample.judge.tune, interactions=160, batch=32, epochs=2, learning_rate=2e-3)
    return dataclasses.replace(sample.judge, candidates=5, history=4, tune=tune)


@pytest.fixture(scope="module")
def tuned(five, catalogue, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tuned")
    steps: list[tuple[int, int]] = []
    facts = tune_judge(five, catalogue, "tiny", folder, progress=lambda done, total: steps.append((done, total)))
    return folder, facts, steps


@pytest.fixture(scope="module")
def labelled(five, catalogue) -> tuple[PromptTokenizer, LabelledPrompts]:
    """Tokenizer and 200 prompts of test users."""
    builder = PromptBuilder(catalogue, five)
    tokens = PromptTokenizer(five, builder, resolve_model("tiny"))
    rng = np.random.default_rng(9)
    history, candidates, label, _ = draw_examples(catalogue, catalogue.test_users, 200, 5, 0.3, rng, history=4)
    return tokens, LabelledPrompts(tokens.encode(builder.build(history, candidates)), np.array(tokens.labels)[label])


@torch.no_grad()
def logits(model, labelled, n: int = 32) -> torch.Tensor:
    tokens, prompts = labelled
    return model(**tokens.pad(prompts.ids[:n], model.device), logits_to_keep=1).logits[:, -1].float()


def test_tuning_lowers_the_label_loss_on_test_users(tuned, labelled):
    folder, facts, steps = tuned
    before = mean_loss(load_model(resolve_model("tiny"), "float32"), *labelled, 32)
    after = mean_loss(load_model(str(folder / "merged"), "float32"), *labelled, 32)
    assert after < 0.8 * before
    assert facts["held_out_loss"][1] < facts["held_out_loss"][0]
    assert (facts["examples"], facts["held_out"], facts["skipped"], facts["kept_pass"]) == (144, 16, 0, 2)
    assert len(facts["loss"]) == len(facts["accuracy"]) == facts["updates"] == 10
    assert steps[-1] == (10, 10)
    assert 0 < facts["trainable"] < 0.2 * facts["parameters"]
    json.dumps(facts, allow_nan=False)
    assert not checkpoint(folder).parent.exists()


def test_merged_model_equals_base_model_with_adapter(tuned, labelled):
    from peft import PeftModel

    folder = tuned[0]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {f.name for f in (folder / "adapter").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {f.name for f in (folder / "merged").iterdir()}
    base = load_model(resolve_model("tiny"), "float32")
    plain = logits(base, labelled)
    merged = logits(load_model(str(folder / "merged"), "float32"), labelled)
    with_adapter = logits(PeftModel.from_pretrained(base, folder / "adapter").eval(), labelled)
    torch.testing.assert_close(merged, with_adapter, atol=1e-3, rtol=0)
    assert (merged - plain).abs().max() > 0.1
    assert load_tokenizer(str(folder / "merged")).get_vocab() == load_tokenizer(resolve_model("tiny")).get_vocab()


def test_tuning_is_determined_by_the_seed(tmp_path):
    judge = small_judge(epochs=1, dropout=0.1)
    losses = [learn(tmp_path / str(i), judge)["loss"] for i in range(2)]
    assert losses[0] == losses[1]
    assert learn(tmp_path / "2", dataclasses.replace(judge, seed=1))["loss"] != losses[0]


def test_adapter_has_the_requested_rank_scale_dropout_and_targets(tmp_path):
    judge = small_judge(
        interactions=4, epochs=1, rank=3, lora_alpha=4.5, dropout=0.2, targets=("q_proj", "self_attn.v_proj")
    )
    facts = learn(tmp_path, judge)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 4.5, 0.2)
    assert facts["trainable"] == LAYERS * sum(3 * (a + b) for a, b in SHAPES.values())
    assert {name.split(".")[-3] for name in adapter(tmp_path)} == {"q_proj", "v_proj"}
    all_linear = model_with_adapter(resolve_model("tiny"), small_judge())
    adapted = {name.split(".")[-4] for name, weight in all_linear.named_parameters() if weight.requires_grad}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("targets", [(), ("query",), ("q_proj", "k_prj"), ("proj",), ("lm_head",), ("embed_tokens",)])
def test_missing_targets_are_rejected(tmp_path, targets):
    with pytest.raises(InputError, match="q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj") as error:
        learn(tmp_path, small_judge(targets=targets))
    assert error.value.where == "judge.tune.targets"


def test_bfloat16_base_has_a_float32_adapter(tmp_path):
    judge = dataclasses.replace(small_judge(interactions=40, batch=8, checkpoint_every=1), dtype="bfloat16")
    model = model_with_adapter(resolve_model("tiny"), judge)
    dtypes = {weight.requires_grad: weight.dtype for weight in model.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    moments: set[torch.dtype] = set()

    def progress(done: int, total: int) -> None:
        if done == 2:  # the first update's checkpoint has been written
            moments.update(t.dtype for n, t in load_file(checkpoint(tmp_path)).items() if n.startswith("optimiser/"))

    facts = learn(tmp_path, judge, progress)
    assert moments == {torch.float32}
    assert facts["held_out_loss"][1] < facts["held_out_loss"][0]
    assert {weight.dtype for weight in adapter(tmp_path).values()} == {torch.float32}
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in merged.values()} == {torch.bfloat16}


def test_gradient_checkpointing_recomputes_and_changes_nothing(tmp_path, labelled):
    facts = {}
    for enabled in (False, True):
        judge = small_judge(epochs=1, gradient_checkpointing=enabled, dropout=0.1)
        facts[enabled] = learn(tmp_path / str(enabled), judge)
        model = model_with_adapter(resolve_model("tiny"), judge).train()
        calls: list[int] = []
        layer = model.get_base_model().model.layers[0].self_attn.q_proj
        layer.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        tokens, prompts = labelled
        model(**tokens.pad(prompts.ids[:2], model.device), use_cache=False).logits.sum().backward()
        assert len(calls) == (2 if enabled else 1)
    assert facts[True] == facts[False]
    first, second = adapter(tmp_path / "False"), adapter(tmp_path / "True")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert max(weight.abs().max() for name, weight in first.items() if "lora_B" in name) > 0  # it has been trained


CUDA, BITSANDBYTES = torch.cuda.is_available(), importlib.util.find_spec("bitsandbytes") is not None


@pytest.mark.skipif(CUDA and BITSANDBYTES, reason="4-bit tuning is available")
def test_four_bits_require_a_gpu_and_bitsandbytes(tmp_path):
    with pytest.raises(InputError, match="bitsandbytes" if CUDA else "NVIDIA GPU") as error:
        learn(tmp_path, small_judge(quantize="4bit"))
    assert error.value.where == "judge.tune.quantize"
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.skipif(not (CUDA and BITSANDBYTES), reason="needs an NVIDIA GPU and bitsandbytes")
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_four_bit_base_is_tuned_and_exported_in_full_precision(tmp_path, labelled, gradient_checkpointing):
    from peft import PeftModel

    judge = small_judge(interactions=80, batch=8, quantize="4bit", gradient_checkpointing=gradient_checkpointing)
    facts = learn(tmp_path, judge)
    assert facts["held_out_loss"][1] < facts["held_out_loss"][0]
    merged = load_model(str(tmp_path / "merged"), "float32")
    assert "quantization_config" not in merged.config.to_dict()
    with_adapter = PeftModel.from_pretrained(load_model(resolve_model("tiny"), "float32"), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(merged, labelled), logits(with_adapter, labelled), atol=1e-3, rtol=0)
