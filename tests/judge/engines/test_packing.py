"""Continuations side by side under a tree mask equal the same continuations one by one, for several architectures."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from ialp_rllib.judge.engines import memory
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.packed import PackedScorer
from ialp_rllib.judge.engines.packing import Leaf, Pack, batches, layout, make_packs, tree_mask, windows
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery

VOCABULARY = 97
SIZES: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128},
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
}
OWN_SIZES: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS: dict[str, Any] = {
    "llama": hf.LlamaConfig(**SIZES),
    "mistral, window": hf.MistralConfig(**SIZES, sliding_window=12),
    "qwen2": hf.Qwen2Config(**SIZES),
    "qwen2, window in one layer": hf.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=12, max_window_layers=1
    ),
    "gemma2": hf.Gemma2Config(**SIZES, head_dim=8, sliding_window=12),
    "gpt2": hf.GPT2Config(**OWN_SIZES, n_embd=16, n_layer=2, n_head=2, n_positions=128),
    "bloom": hf.BloomConfig(**OWN_SIZES, hidden_size=16, n_layer=2, n_head=2),
    "mamba": hf.MambaConfig(**OWN_SIZES, pad_token_id=0, hidden_size=16, num_hidden_layers=2),
}
ONE_BY_ONE = ("bloom", "mamba")  # no positions, no mask of a tree


def random_model(name: str) -> Any:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4.0)  # as initialised, everything is nearly equally probable
    return model


def draw_packs() -> list[Pack]:
    rng = np.random.default_rng(1)
    sizes = ((30, (5, 9, 2, 1)), (41, (6, 8, 7)), (1, (2, 4)))

    def ids(n: int) -> list[int]:
        return [int(i) for i in rng.integers(3, VOCABULARY, n)]

    return [Pack(ids(n), [Leaf(row, j, ids(m)) for j, m in enumerate(rest)]) for row, (n, rest) in enumerate(sizes)]


def alone(model: Any, prefix: list[int], ids: list[int]) -> list[float]:
    """Sum and number of the log-probabilities of a continuation, by the plainest use of a model."""
    with torch.inference_mode():
        logp = torch.log_softmax(model(input_ids=torch.tensor([prefix + ids])).logits[0].float(), 1)
    start = len(prefix) - 1
    return [float(logp[torch.arange(start, start + len(ids)), torch.tensor(ids)].sum()), len(ids)]


@pytest.mark.parametrize("name", list(CONFIGS))
def test_side_by_side_equals_one_by_one(name: str) -> None:
    model = random_model(name)
    scorer = PackedScorer(model, 0, VOCABULARY, 127, "float32", threading.Lock())
    assert scorer.together == scorer.shares == (name not in ONE_BY_ONE)
    packs = draw_packs()
    singles = [Pack(pack.prefix, [leaf]) for pack in packs for leaf in pack.leaves]
    expected = np.array([alone(model, pack.prefix, pack.leaves[0].ids) for pack in singles])
    assert np.ptp(expected[:, 0] / expected[:, 1]) > 0.3, "agreement is trivial if all tokens are equally probable"
    np.testing.assert_allclose(scorer.score(singles), expected, atol=1e-4)
    if scorer.together:
        np.testing.assert_allclose(scorer.score(packs), expected, atol=1e-4)
        labels = scorer.score(packs, [5, 8])
        np.testing.assert_allclose(np.exp(labels).sum(1), 1.0, atol=1e-5)
        np.testing.assert_allclose(labels, scorer.score(singles, [5, 8]), atol=1e-4)
        begin = packs[0].prefix[:20]  # longer than a window
        whole = [Pack(begin + pack.prefix, pack.leaves) for pack in packs]
        for answers in ((), (5, 8)):
            np.testing.assert_allclose(scorer.score(packs, answers, begin), scorer.score(whole, answers), atol=1e-4)


def test_a_window_is_found_in_the_configuration() -> None:
    found = {name: windows(config) for name, config in CONFIGS.items()}
    assert found["mistral, window"] == (12, False)
    assert found["gemma2"] == found["qwen2, window in one layer"] == (12, True)
    assert found["llama"] == found["qwen2"] == found["gpt2"] == (None, False)


def test_the_mask_of_a_tree() -> None:
    pack = Pack([9, 8], [Leaf(0, 0, [1, 2]), Leaf(0, 1, [3])])
    batch = layout([pack, Pack([9], [Leaf(1, 0, [4])])], pad_id=0)
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 2]
    seen = tree_mask(batch)[:, 0].int()
    assert seen[0].tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert seen[1, 1].tolist() == [1, 1, 0, 0, 0] and seen[1, 3].tolist() == [0, 0, 0, 1, 0]  # padding sees itself
    assert tree_mask(batch, window=2)[0, 0, 4].tolist() == [False, True, False, False, True]


def test_queries_with_one_prefix_share_it_within_the_budget() -> None:
    queries = {row: ([7] * 10, [[row] * 3, [row] * 4]) for row in range(5)} | {9: ([8] * 30, [[1] * 5])}
    packs = make_packs(queries, budget=30, together=True)
    assert sorted((leaf.row, leaf.part) for pack in packs for leaf in pack.leaves) == sorted(
        [(row, part) for row in range(5) for part in (0, 1)] + [(9, 0)]
    )
    assert all(pack.length <= 30 or len(pack.leaves) == 1 for pack in packs) and len(packs) == 3
    assert len(make_packs(queries, budget=30, together=False)) == 11
    groups = list(batches(packs, most=8, budget=60))
    assert all(len(group) * max(pack.length for pack in group) <= 60 for group in groups)


@pytest.fixture(scope="module")
def engine(sample, builder) -> TransformersEngine:
    settings = dataclasses.replace(sample.judge, answer="likelihood", batch_tokens=400)
    return TransformersEngine(settings, builder, resolve_model("tiny"))


@pytest.fixture(scope="module")
def queries(sample, catalogue, examples) -> list[PackedQuery]:
    lines = LineBuilder(catalogue, sample.judge, sample.catalogue.attributes)
    return lines.build(examples.history[:6], examples.candidates[:6])


def test_the_engine_scores_packed_queries(engine, queries) -> None:
    output = engine.ask(queries)
    assert output.logprobs.shape == (6, 20) and not output.refused
    each = np.concatenate([engine.ask([query]).logprobs for query in queries])
    np.testing.assert_allclose(output.logprobs, each, atol=1e-4)
    parts = [PackedQuery(queries[0].prefix, (text,)) for text in queries[0].continuations]
    np.testing.assert_allclose(engine.ask(parts).logprobs.ravel(), output.logprobs[0], atol=1e-4)
    assert (output.logprobs[:, ::2] < 0).all() and (output.logprobs[:, 1::2] >= 1).all()


def test_without_a_tree_the_engine_gives_the_same(engine, queries, monkeypatch) -> None:
    expected = engine.ask(queries).logprobs
    monkeypatch.setattr(engine.packed, "together", False)
    output = engine.ask(queries)
    np.testing.assert_allclose(output.logprobs, expected, atol=1e-4)
    assert output.tokens > 3 * engine.ask(queries[:1]).tokens


def test_a_query_that_is_too_long_is_refused_alone(engine, queries) -> None:
    long = queries[2]._replace(prefix=queries[2].prefix * 60)
    output = engine.ask([*queries[:2], long, *queries[3:]])
    assert list(output.refused) == [2] and "tokens, at most" in output.refused[2]
    assert np.isnan(output.logprobs[2]).all() and np.isfinite(np.delete(output.logprobs, 2, 0)).all()


def test_batches_are_halved_when_memory_runs_out(engine, queries, monkeypatch) -> None:
    two = [query._replace(continuations=query.continuations[:4]) for query in queries[:2]]
    expected, score = engine.ask(two).logprobs, engine.packed.score

    def little_memory(packs, answers=(), shared=()):
        if sum(len(pack.leaves) for pack in packs) > 2:
            raise torch.OutOfMemoryError("no memory")
        return score(packs, answers, shared)

    monkeypatch.setattr(memory, "free_memory", lambda: None)
    monkeypatch.setattr(engine._packs, "most", engine._packs.most)
    monkeypatch.setattr(engine.packed, "score", little_memory)
    np.testing.assert_allclose(engine.ask(two).logprobs, expected, atol=1e-4)
    monkeypatch.setattr(engine.packed, "score", lambda packs, *_: little_memory([*packs] * 9))
    output = engine.ask(two)
    assert set(output.refused) == {0, 1} and np.isnan(output.logprobs).all()
