"""Content and order of a prompt."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.prompt.builder import PromptBuilder


def line(catalogue, item: int) -> str:
    texts = catalogue.item_texts
    return f"({texts['genre'][item]}, {texts['maker'][item]}, {texts['mood'][item]})"


def test_parts_are_in_order(catalogue, builder):
    prompt = builder.build(np.array([[7, 3]]), np.arange(20, 30)[None])[0]
    parts = ["user of a music platform", "(genre, maker, mood)", "10 candidates", "or k if none fits", "### History"]
    parts += [line(catalogue, 7), line(catalogue, 3), "### Candidates"]
    parts += [f" {letter}. {line(catalogue, 20 + i)}" for i, letter in enumerate("abcdefghij")]
    parts += [" k. None", "Answer:"]
    positions = [prompt.index(part) for part in parts]
    assert positions == sorted(positions)
    assert prompt.endswith("Answer:")
    assert builder.labels == [f" {letter}" for letter in "abcdefghijk"]


def test_padding_is_skipped_and_only_the_most_recent_items_are_shown(catalogue, builder):
    pad = catalogue.pad
    candidates = np.tile(np.arange(10), (3, 1))
    padded, bare = np.array([[pad, pad, *range(40, 50)]] * 3), np.array([list(range(38, 50))] * 3)
    assert builder.build(padded, candidates) == builder.build(bare, candidates)
    assert "- None\n" in builder.build(np.full((1, 4), pad), candidates[:1])[0]


def test_all_prompts_share_a_prefix(builder):
    rng = np.random.default_rng(0)
    prompts = builder.build(rng.integers(0, 300, (20, 5)), rng.integers(0, 300, (20, 10)))
    assert all(p.startswith(builder.frame + builder.history_head) for p in prompts)


def test_missing_values_and_line_breaks(catalogue, sample):
    texts = {**catalogue.item_texts, "mood": np.array(["", "two\nlines"] * 150, object)}
    odd = PromptBuilder(dataclasses.replace(catalogue, item_texts=texts), sample.judge, ("mood",))
    prompt = odd.build(np.array([[0, 1]]), np.arange(10)[None])[0]
    assert "- (unknown)\n- (two lines)\n" in prompt


def test_fingerprint_covers_wording_and_items(catalogue, sample, builder):
    changes = ({"platform": "a shop"}, {"candidates": 5}, {"history": 4}, {"item_noun": "song"}, {"frame": 1})
    others = [PromptBuilder(catalogue, dataclasses.replace(sample.judge, **c)).fingerprint for c in changes]
    assert len({builder.fingerprint, *others}) == 6
    assert PromptBuilder(catalogue, sample.judge).fingerprint == builder.fingerprint


def test_wordings_contain_the_same_information_and_change_nothing_else(catalogue, sample, builder):
    wordings = [
        PromptBuilder(catalogue, dataclasses.replace(sample.judge, frame=frame), sample.catalogue.attributes)
        for frame in range(3)
    ]
    assert len({w.frame for w in wordings}) == len({w.fingerprint for w in wordings}) == 3
    history, candidates = np.array([[7, 3]]), np.arange(20, 30)[None]
    rests = {w.build(history, candidates)[0].removeprefix(w.frame) for w in wordings}
    assert len(rests) == 1 and rests.pop().startswith("### History")
    for wording in wordings:
        assert (wording.stem, wording.labels) == (builder.stem, builder.labels)
        assert wording.frame.startswith("### Instruction\n") and wording.frame.count("\n") == 2
        for part in ("a music platform", "track", r"\(genre, maker, mood\)", r"\b10\b", r"\bk\b"):
            assert re.search(part, wording.frame), part


def test_wording_of_the_packaged_judge(sample, builder):
    assert sample.judge.frame == 0
    assert builder.frame == (
        "### Instruction\nYou are a user of a music platform. Each track is written as (genre, maker, mood). Given the "
        "tracks that you chose so far, the latest last, and 10 candidates, name the candidate that you would like most "
        "next, judging by these attributes. Answer with its letter, or k if none fits.\n"
    )


def test_braces_in_settings_are_literal(catalogue, sample):
    odd = dataclasses.replace(sample.judge, platform="a {shop}", item_noun="{k}", frame=1)
    assert "visit a {shop}." in PromptBuilder(catalogue, odd).frame


def test_unknown_attribute(catalogue, sample):
    with pytest.raises(InputError, match="no attribute 'colour'"):
        PromptBuilder(catalogue, sample.judge, ("colour",))
