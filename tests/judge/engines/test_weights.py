"""A checkpoint whose weights do not fit is refused or mended, before either engine, and never filled at random."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines import models
from ialp_rllib.judge.engines.models import check_weights, load_model, model_fingerprint, resolve_model
from ialp_rllib.judge.engines.preflight import check_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.engines.weights import bare_name, renamed
from tests.judge.engines.conftest import WEIGHTS, change_json, change_weights

PART = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


def nan(weights):
    weights[NORM][3] = float("nan")
    return weights


CHANGES = {
    "missing": (lambda w: {k: v for k, v in w.items() if k != PART}, rf"1 weight is missing: {PART}"),
    "empty": (lambda w: {}, r"\d+ weights are missing: lm_head.weight, .*, \.\.\."),
    "shape": (lambda w: w | {PART: w[PART][:-1]}, rf"{PART}: \(255, 128\), not \(256, 128\)"),
    "renamed": (lambda w: {k.replace("mlp", "ffn"): v for k, v in w.items()}, "12 weights are missing: .* 12 others: "),
    "nan": (nan, f"not finite, in {NORM}"),
    "float64": (lambda w: w | {NORM: w[NORM].double() * 1e300}, f"not finite, in {NORM}"),
    "zeros": (
        lambda w: w | {"model.embed_tokens.weight": 0 * w["model.embed_tokens.weight"]},
        "output layer model.embed_tokens.weight holds zeros only",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_weights_that_do_not_fit_are_refused(kind: str, tiny: Path, judge, builder):
    change, problem = CHANGES[kind]
    change_weights(tiny, change)
    with pytest.raises(InputError, match=problem) as first:
        TransformersEngine(judge, builder, str(tiny))
    with pytest.raises(InputError) as second:
        check_weights(str(tiny), "float32")  # what comes before vLLM
    assert str(first.value) == str(second.value)
    if kind not in ("nan", "float64", "zeros"):
        with pytest.raises(InputError, match=problem):
            check_model(judge, str(tiny))


@pytest.mark.parametrize("kind", ["missing", "nan"])
def test_refused_before_vllm_is_imported(kind: str, tiny: Path, judge, builder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)  # so that its import raises an ImportError
    change_weights(tiny, CHANGES[kind][0])
    with pytest.raises(InputError, match=CHANGES[kind][1]):
        VllmEngine(judge, builder, str(tiny))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "net.student.", "model."])
def test_names_of_wrappers_are_taken_off(prefix: str, tiny: Path, judge, builder, prompts, expected, cache):
    change_weights(tiny, lambda weights: {prefix + name: value for name, value in weights.items()})
    check_model(judge, str(tiny))
    folder = resolve_model(str(tiny))
    assert Path(folder).parent == cache
    assert model_fingerprint(folder) == model_fingerprint(str(tiny)) != model_fingerprint("tiny")
    engine = TransformersEngine(judge, builder, folder)
    np.testing.assert_array_equal(engine.ask(prompts).logprobs, expected)
    (shard,) = Path(folder).glob("*.safetensors")  # vLLM reads the names itself
    assert set(load_file(shard)) == set(load_file(Path(resolve_model("tiny")) / WEIGHTS))


def test_names_inside_and_names_that_are_as_they_should_be():
    assert bare_name("model.layers.0._orig_mod.mlp.weight") == "model.layers.0.mlp.weight"
    assert bare_name("module.module.a.module.b") == "a.module.b"
    assert renamed(["model.a", "model.b"], ["model.a", "model.b"]) == {}
    assert renamed(["h.0.w", "wte.w"], ["transformer.h.0.w", "transformer.wte.w"]) == {}
    assert renamed(["_orig_mod.a", "a"], ["a"]) == {}, "two weights would have one name"


def other(kind: str, folder: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaConfig(vocab_size=700, **sizes)
    models = {
        "head": lambda: LlamaForSequenceClassification(llama),
        "tied head": lambda: LlamaForSequenceClassification(
            LlamaConfig(vocab_size=700, tie_word_embeddings=True, **sizes)
        ),
        "no head": lambda: LlamaModel(llama),
        "bert": lambda: BertLMHeadModel(BertConfig(vocab_size=700, **sizes)),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(vocab_size=700, d_model=32, d_ff=32, num_layers=1, num_heads=2)
        ),
    }
    (folder / WEIGHTS).unlink()
    models[kind]().save_pretrained(folder)


OTHERS = {
    "head": r"head of another task \(LlamaForSequenceClassification\)",
    "tied head": "head of another task",
    "no head": "1 weight is missing: lm_head.weight",
    "bert": "encoder: it is not trained",
    "t5": "encoder with a decoder",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_models_of_another_kind_are_refused(kind: str, tiny: Path, judge, builder):
    other(kind, tiny)
    for load in (lambda: TransformersEngine(judge, builder, str(tiny)), lambda: check_model(judge, str(tiny))):
        with pytest.raises(InputError, match=OTHERS[kind]):
            load()


def test_a_config_is_read_again_only_when_it_has_changed(tiny: Path):
    resolve_model(str(tiny))
    before = models._names_in_model.cache_info()
    resolve_model(str(tiny))
    after = models._names_in_model.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
    change_json(tiny / "config.json", architectures=["MistralForSequenceClassification"])
    with pytest.raises(InputError, match=OTHERS["tied head"]):
        resolve_model(str(tiny))


def test_head_of_another_task_under_the_right_name_is_missing(tiny: Path, judge):
    other("head", tiny)
    change_json(tiny / "config.json", architectures=["LlamaForCausalLM"])
    with pytest.raises(InputError, match=r"missing: lm_head.weight; the model does not know 1 other: score.weight"):
        check_model(judge, str(tiny))


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_shards(damage: str, tiny: Path, judge, builder, prompts, expected):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    (tiny / WEIGHTS).unlink()
    model.save_pretrained(tiny, max_shard_size="500KB")
    engine = TransformersEngine(judge, builder, str(tiny))
    np.testing.assert_allclose(engine.ask(prompts).logprobs, expected, atol=1e-5)
    last = sorted(tiny.glob("model-*.safetensors"))[-1]
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:-10])
    with pytest.raises(InputError, match=last.name if damage == "missing" else "cannot be loaded"):
        check_model(judge, str(tiny))


def test_pickled_weights_are_read_without_running_code(tiny: Path, judge, builder, prompts, expected, capfd):
    class Stranger:
        def __reduce__(self):
            return (os.write, (1, b"CODE WAS RUN"))

    weights = load_file(tiny / WEIGHTS)
    (tiny / WEIGHTS).unlink()
    torch.save(weights, tiny / "pytorch_model.bin")
    check_model(judge, str(tiny))
    np.testing.assert_array_equal(TransformersEngine(judge, builder, str(tiny)).ask(prompts).logprobs, expected)
    torch.save({**weights, "stranger": Stranger()}, tiny / "pytorch_model.bin")
    for load in (lambda: load_model(str(tiny), "float32"), lambda: check_model(judge, str(tiny))):
        with pytest.raises(InputError, match="code is never run"):
            load()
    assert "CODE WAS RUN" not in capfd.readouterr().out


def test_code_of_a_folder_is_never_run_and_nothing_is_asked(tiny: Path):
    """In a process with a terminal's worth of input: `y` would let transformers run the folder's code."""
    (tiny / "own.py").write_text("open('RAN', 'w').write('this file must never appear')\n")
    change_json(
        tiny / "config.json", model_type="evil", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    )
    script = (
        "import sys\nfrom ialp_rllib.judge.engines.preflight import check_model\n"
        "from ialp_rllib.judge.engines.models import load_model\nfrom ialp_rllib.settings import JudgeSettings\n"
        "model = sys.argv[1]\n"
        "for load in (lambda: check_model(JudgeSettings(model=model)), lambda: load_model(model, 'float32')):\n"
        "    try:\n        load()\n    except Exception as error:\n        print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny)],
        input="y\n" * 9,
        capture_output=True,
        text=True,
        cwd=tiny,
        timeout=300,
    )
    assert done.stdout.count("InputError") == 2 and done.stdout.count("needs code of its own") == 2, done.stderr
    assert not re.search(r"y/N|Do you wish", done.stdout + done.stderr) and not (tiny / "RAN").exists()


def test_auto_map_of_a_known_architecture_is_ignored(tiny: Path, judge, builder, prompts, expected):
    (tiny / "own.py").write_text("raise SystemExit('code was run')\n")
    change_json(tiny / "config.json", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})
    check_model(judge, str(tiny))
    np.testing.assert_array_equal(TransformersEngine(judge, builder, str(tiny)).ask(prompts).logprobs, expected)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"model_type": "gpt2"}, "weights are missing"),
        ({"model_type": None, "architectures": None}, "cannot be loaded"),
        ({"vocab_size": 9999}, "another shape"),
    ],
)
def test_config_of_another_model(values, problem: str, tiny: Path, judge):
    change_json(tiny / "config.json", **values)
    with pytest.raises(InputError, match=problem):
        check_model(judge, str(tiny))


def test_index_and_config_that_are_no_objects(tiny: Path, judge):
    (tiny / WEIGHTS).unlink()
    (tiny / "model.safetensors.index.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="is a list"):
        check_model(judge, str(tiny))
    assert AutoConfig.from_pretrained(tiny).model_type == "mistral"
