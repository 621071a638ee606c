"""What stands in a prompt, and in which order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.prompt import PromptBuilder


def line(catalogue, item: int) -> str:
    texts = catalogue.item_texts
    return f"({texts['genre'][item]}, {texts['maker'][item]}, {texts['mood'][item]})"


def test_parts_stand_in_order(catalogue, builder):
    prompt = builder.build(np.array([[7, 3]]), np.arange(20, 30)[None])[0]
    parts = ["user of a music platform", "(genre, maker, mood)", "10 candidates", "or k if none fits", "### History"]
    parts += [line(catalogue, 7), line(catalogue, 3), "### Candidates"]
    parts += [f" {letter}. {line(catalogue, 20 + i)}" for i, letter in enumerate("abcdefghij")]
    parts += [" k. None", "Answer:"]
    places = [prompt.index(part) for part in parts]
    assert places == sorted(places)
    assert prompt.endswith("Answer:")
    assert builder.labels == [f" {letter}" for letter in "abcdefghijk"]


def test_padding_is_skipped_and_only_the_latest_items_are_shown(catalogue, builder):
    pad = catalogue.pad
    candidates = np.tile(np.arange(10), (3, 1))
    padded, bare = np.array([[pad, pad, *range(40, 50)]] * 3), np.array([list(range(38, 50))] * 3)
    assert builder.build(padded, candidates) == builder.build(bare, candidates)
    assert "- None\n" in builder.build(np.full((1, 4), pad), candidates[:1])[0]


def test_all_prompts_share_their_beginning(builder):
    rng = np.random.default_rng(0)
    prompts = builder.build(rng.integers(0, 300, (20, 5)), rng.integers(0, 300, (20, 10)))
    assert all(p.startswith(builder.frame + builder.history_head) for p in prompts)


def test_missing_values_are_said_and_line_ends_removed(catalogue, sample):
    texts = {**catalogue.item_texts, "mood": np.array(["", "two\nlines"] * 150, object)}
    odd = PromptBuilder(dataclasses.replace(catalogue, item_texts=texts), sample.judge, ("mood",))
    prompt = odd.build(np.array([[0, 1]]), np.arange(10)[None])[0]
    assert "- (unknown)\n- (two lines)\n" in prompt


def test_fingerprint_follows_wording_and_items(catalogue, sample, builder):
    changes = ({"platform": "a shop"}, {"candidates": 5}, {"history": 4}, {"item_noun": "song"})
    others = [PromptBuilder(catalogue, dataclasses.replace(sample.judge, **c)).fingerprint for c in changes]
    assert len({builder.fingerprint, *others}) == 5
    assert PromptBuilder(catalogue, sample.judge).fingerprint == builder.fingerprint


def test_unknown_attribute(catalogue, sample):
    with pytest.raises(InputError, match="no attribute 'colour'"):
        PromptBuilder(catalogue, sample.judge, ("colour",))
