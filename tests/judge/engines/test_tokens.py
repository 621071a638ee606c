"""What the model is asked: the prompt's tokens, without an end token, in the right form."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ialp_rllib.errors import InputError
from ialp_rllib.judge.audit.audit import audit_judge, audit_size
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import InProcessClient
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.judge import LLMJudge, local_judge
from ialp_rllib.judge.prompt.chat import chat_text
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.judge.prompt.packed import PackedQuery

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %} [reply of {{ strftime_now('%Y') }}] {% endif %}"
)


def save_tokenizer(folder: Path, change=None, template: str = "", **names) -> None:
    """The packaged judge's tokenizer, changed."""
    backend = Tokenizer.from_str(AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str())
    if change:
        change(backend)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **{k: v for k, v in (NAMES | names).items() if v})
    made.chat_template = template or None
    made.save_pretrained(folder)


def ends_with_eos(backend: Tokenizer) -> None:
    pairs = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pairs)


def test_an_end_token_behind_every_text_is_left_out(tiny, judge, builder, prompts, expected):
    plain = PromptTokenizer(judge, builder, resolve_model("tiny"))
    save_tokenizer(tiny, ends_with_eos)
    assert AutoTokenizer.from_pretrained(tiny)("x")["input_ids"][-1] == 1, "the tokenizer does end its texts"
    tokens = PromptTokenizer(judge, builder, str(tiny))
    assert tokens.encode(prompts) == plain.encode(prompts) and tokens.labels == plain.labels
    np.testing.assert_array_equal(TransformersEngine(judge, builder, str(tiny)).ask(prompts).logprobs, expected)


def test_flags_of_llama_tokenizers(tiny, judge, builder, prompts):
    from transformers import LlamaTokenizer

    model = AutoTokenizer.from_pretrained(tiny).backend_tokenizer
    vocabulary = {f"▁{c}": 3 + i for i, c in enumerate("abcdefghijk")}
    assert model.get_vocab_size() > 600
    letters = sorted({c for prompt in prompts for c in prompt.replace(" ", "▁")} | {"▁"})
    vocabulary |= {c: 20 + i for i, c in enumerate(letters)}
    special = {"<unk>": 2, "<s>": 0, "</s>": 1}
    merges = [("▁", c) for c in "abcdefghijk"]
    ids = {}
    for flag in (False, True):
        for file in tiny.glob("tokenizer*"):
            file.unlink()
        made = LlamaTokenizer(vocab=special | vocabulary, merges=merges, add_eos_token=flag, add_bos_token=True)
        made.save_pretrained(tiny)
        ids[flag] = PromptTokenizer(judge, builder, str(tiny)).encode(prompts)
        assert AutoTokenizer.from_pretrained(tiny)("a")["input_ids"][-1] == (1 if flag else vocabulary["▁a"])
    assert ids[True] == ids[False] and ids[True][0][0] == 0


def without_names(folder: Path) -> None:
    save_tokenizer(folder, pad_token=None, eos_token=None)


def pad_outside(folder: Path) -> None:
    save_tokenizer(folder, pad_token=None)
    bigger = AutoTokenizer.from_pretrained(folder)
    bigger.add_special_tokens({"pad_token": "<PAD>"})
    assert bigger.pad_token_id == 640
    bigger.save_pretrained(folder)


@pytest.mark.parametrize("change", [without_names, pad_outside])
def test_any_valid_token_pads(change, tiny, judge, builder, prompts, expected):
    change(tiny)
    logprobs = TransformersEngine(judge, builder, str(tiny)).ask(prompts).logprobs
    np.testing.assert_allclose(logprobs, expected, atol=1e-5)


def more_tokens(backend: Tokenizer) -> None:
    backend.add_tokens(["driftwave"])


def same_label(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.Replace(": b", ": a")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (more_tokens, "1 of its tokens, such as 'driftwave', are not in the model's 640"),
        (same_label, "same token as label"),
    ],
)
def test_tokenizers_that_do_not_fit(change, problem, tiny, judge, builder):
    save_tokenizer(tiny, change)
    with pytest.raises(InputError, match=problem):
        PromptTokenizer(judge, builder, str(tiny))


def test_a_prompt_with_a_token_that_has_no_embedding_is_refused_alone(tiny, judge, builder, prompts):
    pad_outside(tiny)
    output = TransformersEngine(judge, builder, str(tiny)).ask([prompts[0], f"<PAD> {prompts[1]}"])
    assert list(output.refused) == [1] and "no embedding" in output.refused[1]


# --- chat templates


def test_chat_form(tiny, judge, builder, prompts):
    save_tokenizer(tiny, ends_with_eos, TEMPLATE)
    tokens = PromptTokenizer(judge, builder, str(tiny))
    assert (tokens.form, tokens.other_form) == ("chat", "raw")
    text = tokens.tokenizer.decode(tokens.encode(prompts[:1])[0])
    message = prompts[0].removesuffix("### Response\nAnswer:").strip()
    assert text == f"<s>[user] {message} [reply of 2024] Answer:", "one start token, no end token, no date of today"
    assert datetime.date.today().year != 2024
    raw = PromptTokenizer(dataclasses.replace(judge, chat_template="off"), builder, str(tiny))
    assert (raw.form, raw.other_form) == ("raw", "chat")
    assert raw.encode(prompts) == PromptTokenizer(judge, builder, resolve_model("tiny")).encode(prompts)
    assert raw.encode(prompts, "chat") == tokens.encode(prompts)


def test_packed_queries_in_a_chat(tiny, judge, builder):
    save_tokenizer(tiny, ends_with_eos, TEMPLATE)
    tokens = PromptTokenizer(dataclasses.replace(judge, answer="likelihood"), builder, str(tiny))
    assert tokens.form == "chat" and tokens.labels == []
    with pytest.raises(InputError, match="' yes'"):
        PromptTokenizer(dataclasses.replace(judge, answer="yes_no"), builder, str(tiny))
    behind = tuple(f"- ({name})\n### Response\nAnswer:" for name in "ab")
    query = PackedQuery("### Instruction\nwho\n### Candidate\n", behind, (" a", " b"))
    for form, start in (("chat", "<s>[user] ### Instruction"), ("raw", "<s>### Instruction")):
        encoded, refused = tokens.encode_packed([query, query._replace(prefix="x" * 9000)], form)
        prefix, parts = encoded[0]
        whole = tokens.encode([query.prefix + text for text in behind], form)
        assert [tokens.tokenizer.decode(prefix + part) for part in parts] == [tokens.tokenizer.decode(w) for w in whole]
        assert tokens.tokenizer.decode(prefix).startswith(start) and list(refused) == [1]
        assert [tokens.tokenizer.decode([i]) for i in tokens.answer_ids(query, form)] == [" a", " b"]


@pytest.mark.parametrize("answer", ["likelihood", "auto"])
def test_letters_that_are_no_tokens_matter_to_letters_only(answer, tiny, judge, builder):
    other = AnswerFormat(builder.stem, [" a", " bb"])
    with pytest.raises(InputError, match="tokens after the answer stem"):
        PromptTokenizer(judge, other, str(tiny))
    tokens = PromptTokenizer(dataclasses.replace(judge, answer=answer), other, str(tiny))
    assert tokens.labels == []
    if answer == "auto":
        with pytest.raises(InputError, match="tokens after the answer stem"):
            tokens.label_ids()


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ raise_exception('not for you') }}", "not for you"),
        ("{% for %}", "TemplateSyntaxError"),
        ("hi", "contain the message"),
    ],
)
def test_broken_templates(template, problem, tiny, judge, builder, prompts):
    save_tokenizer(tiny, None, template)
    with pytest.raises(InputError, match=problem) as caught:
        PromptTokenizer(judge, builder, str(tiny))
    assert "judge.chat_template=off" in caught.value.expected
    tokens = PromptTokenizer(dataclasses.replace(judge, chat_template="off"), builder, str(tiny))
    assert tokens.other_form == "" and tokens.encode(prompts)


def test_a_template_that_is_asked_for_and_absent(judge, builder):
    with pytest.raises(InputError, match="has no chat template"):
        PromptTokenizer(dataclasses.replace(judge, chat_template="on"), builder, resolve_model("tiny"))


def test_thinking_is_turned_off(tiny):
    save_tokenizer(tiny, None, "{{ messages[0].content }}{% if enable_thinking is false %} <think></think> {% endif %}")
    assert (
        chat_text(AutoTokenizer.from_pretrained(tiny), "x### Response\nAnswer: a", "m") == "x <think></think> Answer: a"
    )


def test_cache_and_fingerprints_tell_the_forms_apart(tiny, judge, catalogue, examples, tmp_path):
    save_tokenizer(tiny, None, TEMPLATE)
    settings = dataclasses.replace(judge, cache=str(tmp_path / "answers"))
    chat = local_judge(settings, catalogue, str(tiny))
    other = chat.in_other_form()
    queries = examples.history[:8], examples.candidates[:8]
    first, second = chat.answer(*queries), other.answer(*queries)
    assert other.cache_hits == 0 and np.abs(first.logprobs - second.logprobs).max() > 1e-3
    assert chat.info()["form"] == "chat" and other.info()["form"] == "raw"
    assert chat.info()["prompt_fingerprint"] != other.info()["prompt_fingerprint"]
    again = LLMJudge(InProcessClient(chat.client.engine), catalogue, settings)
    np.testing.assert_array_equal(again.answer(*queries).logprobs, first.logprobs)
    assert again.cache_hits == 8
    raw = local_judge(dataclasses.replace(settings, chat_template="off"), catalogue, str(tiny))
    np.testing.assert_array_equal(raw.answer(*queries).logprobs, second.logprobs)
    assert raw.cache_hits == 8 and raw.info()["prompt_fingerprint"] == other.info()["prompt_fingerprint"]
    assert local_judge(judge, catalogue, "tiny").in_other_form() is None


def test_audit_measures_both_forms(tiny, judge, catalogue):
    save_tokenizer(tiny, None, TEMPLATE)
    settings = dataclasses.replace(judge, audit_prompts=40)
    facts = audit_judge(local_judge(settings, catalogue, str(tiny)), settings, catalogue)
    assert facts["asked"] == audit_size(settings, forms=2).total
    forms = facts["forms"]
    assert (forms["used"], forms["prompts"]) == ("chat", 10) and [row["form"] for row in forms["forms"]] == [
        "chat",
        "raw",
    ]
    assert all(0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1 for row in forms["forms"])
    assert "forms" not in audit_judge(local_judge(settings, catalogue, str(tiny)), settings, catalogue, brief=True)


@pytest.mark.slow
def test_vllm_takes_the_same_form(tiny, judge, builder, prompts):
    pytest.importorskip("vllm")
    save_tokenizer(tiny, ends_with_eos, TEMPLATE)
    first = TransformersEngine(judge, builder, str(tiny))
    second = VllmEngine(judge, builder, str(tiny))
    for form in ("chat", "raw"):
        np.testing.assert_allclose(second.ask(prompts, form).logprobs, first.ask(prompts, form).logprobs, atol=1e-3)
    second.close()
