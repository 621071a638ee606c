"""LoRA tuning: what it teaches and what it leaves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.judge.engines import TransformersEngine
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.models import load_model, load_tokenizer, resolve_model
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.judge.tuning import tune_judge


@pytest.fixture(scope="module")
def five(sample):
    """Five candidates: the tiny judge has never seen that None stands at f."""
    tune = dataclasses.replace(sample.judge.tune, interactions=160, batch=32, epochs=2, learning_rate=2e-3)
    return dataclasses.replace(sample.judge, candidates=5, history=4, engine="transformers", tune=tune)


@pytest.fixture(scope="module")
def tuned(five, catalogue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    steps: list[tuple[int, int]] = []
    facts = tune_judge(five, catalogue, "tiny", folder, progress=lambda done, total: steps.append((done, total)))
    return folder, facts, steps


def label_loss(engine: TransformersEngine, builder: PromptBuilder, catalogue) -> float:
    users, rng = catalogue.test_users, np.random.default_rng(9)
    past, candidates, label = draw_examples(catalogue, users, 200, 5, 0.3, rng, history=4)
    logprobs = engine.label_logprobs(builder.build(past, candidates))
    return float(-logprobs[np.arange(200), label].mean())


def test_tuning_lowers_the_label_loss_on_held_out_users(five, catalogue, tuned):
    folder, facts, steps = tuned
    builder = PromptBuilder(catalogue, five)
    before = label_loss(TransformersEngine(five, builder, resolve_model("tiny")), builder, catalogue)
    after = label_loss(TransformersEngine(five, builder, str(folder / "merged")), builder, catalogue)
    assert after < 0.8 * before
    assert len(facts["loss"]) == facts["updates"] == 10
    assert steps[-1] == (10, 10)
    assert 0 < facts["trainable"] < 0.2 * facts["parameters"]


def test_merged_model_equals_model_and_adapter(five, catalogue, tuned):
    from peft import PeftModel

    folder = tuned[0]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {f.name for f in (folder / "adapter").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {f.name for f in (folder / "merged").iterdir()}
    builder = PromptBuilder(catalogue, five)
    past, candidates, _ = draw_examples(catalogue, catalogue.test_users, 32, 5, 0.1, np.random.default_rng(1))
    prompts = builder.build(past, candidates)
    merged = TransformersEngine(five, builder, str(folder / "merged"))
    apart = TransformersEngine(five, builder, resolve_model("tiny"))
    plain = apart.label_logprobs(prompts)
    apart.model = PeftModel.from_pretrained(load_model(resolve_model("tiny"), "float32"), folder / "adapter").eval()
    np.testing.assert_allclose(merged.label_logprobs(prompts), apart.label_logprobs(prompts), atol=1e-3)
    assert np.abs(merged.label_logprobs(prompts) - plain).max() > 0.1
    assert load_tokenizer(str(folder / "merged")).get_vocab() == load_tokenizer(resolve_model("tiny")).get_vocab()


def test_tuning_repeats_by_seed(five, catalogue, tmp_path):
    short = dataclasses.replace(five, tune=dataclasses.replace(five.tune, interactions=32, epochs=1, batch=16))
    losses = [tune_judge(short, catalogue, "tiny", tmp_path / str(i))["loss"] for i in range(2)]
    assert losses[0] == losses[1]
    other = tune_judge(dataclasses.replace(short, seed=1), catalogue, "tiny", tmp_path / "2")["loss"]
    assert other != losses[0]
