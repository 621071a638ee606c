"""Scores in batches are those of a loop, and all items at once are the same as some of them."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.judge.controls.similarity import mean_similarity, mean_word_similarity
from ialp_rllib.judge.engines.vectors import centred

ITEMS, DIM = 90, 7
RNG = np.random.default_rng(0)
VECTORS = centred(RNG.normal(3, 1, (ITEMS, DIM)))
TEXTS = {
    "maker": RNG.choice(["Belolk", "Fenura", "Norura Vim"], ITEMS).astype(object),
    "title": np.array([" ".join(RNG.choice([f"w{n}" for n in range(20)], 3)) for _ in range(ITEMS)], object),
}
HISTORY = np.array([[ITEMS, ITEMS, 3], [5, 6, 7], [ITEMS, 3, 3], [ITEMS] * 3])


def word_vectors() -> np.ndarray:
    """Dense tf-idf vectors, written down again."""
    tokens = tokens_of(TEXTS)
    bags = np.zeros((ITEMS, tokens.size + 1))
    np.put_along_axis(bags, tokens.codes, 1.0, 1)
    bags = bags[:, :-1] * np.log(ITEMS / np.maximum(1, bags[:, :-1].sum(0)))
    return bags / np.linalg.norm(bags, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["vectors", "words"])
def test_the_mean_similarity_to_the_history_is_that_of_a_loop(kind: str) -> None:
    vectors = VECTORS if kind == "vectors" else word_vectors()
    scorer = mean_similarity(VECTORS) if kind == "vectors" else mean_word_similarity(TEXTS)
    few = RNG.integers(0, ITEMS, (4, 5))
    everything = np.tile(RNG.permutation(ITEMS), (4, 1))
    for candidates in (few, everything):
        expected = np.zeros(candidates.shape)
        for row, (items, options) in enumerate(zip(HISTORY, candidates, strict=True)):
            past = items[items != ITEMS]
            if len(past):
                expected[row] = [np.mean([vectors[c] @ vectors[p] for p in past]) for c in options]
        np.testing.assert_allclose(scorer(HISTORY, candidates), expected, atol=1e-6)


def test_centred_vectors_have_length_one_and_no_common_direction() -> None:
    np.testing.assert_allclose(np.linalg.norm(VECTORS, axis=1), 1, atol=1e-6)
    assert np.abs(VECTORS.mean(0)).max() < 0.1
    assert not centred(np.ones((3, 2), np.float32)).any()
