"""Prompts without letters: continuations of a list, and questions."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np

from ialp_rllib.judge.prompt.lines import LineBuilder, QuestionBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery, output_width, packed

HISTORY = np.array([[300, 300, 4], [300, 300, 300], [1, 2, 3]])
CANDIDATES = np.array([[5, 6], [7, 8], [9, 10]])


def test_a_list_goes_on_with_each_candidate(sample, catalogue):
    judge = dataclasses.replace(sample.judge, history=2)
    builder = LineBuilder(catalogue, judge, ("genre", "mood"))
    first, empty, cut = builder.build(HISTORY, CANDIDATES)
    line = f"- {catalogue.item_texts['genre'][4]}, {catalogue.item_texts['mood'][4]}\n"
    assert first.prefix == "A user of a music platform chose these tracks, one after the other:\n" + line
    assert empty.prefix == builder.head
    assert cut.prefix == builder.head + builder.lines[2] + builder.lines[3]
    assert first.continuations == (builder.lines[5], builder.lines[6]) and first.answers == ()
    assert builder.alone(np.array([5])) == [PackedQuery(builder.head, (builder.lines[5],))]
    heads = {LineBuilder(catalogue, dataclasses.replace(judge, frame=i)).head for i in range(3)}
    prints = {LineBuilder(catalogue, dataclasses.replace(judge, frame=i)).fingerprint for i in range(3)}
    assert len(heads) == len(prints) == 3 and all("track" in head and head.endswith(":\n") for head in heads)


def test_a_question_for_each_candidate(sample, catalogue):
    builder = QuestionBuilder(catalogue, sample.judge, ("genre",))
    first, empty, _ = builder.build(HISTORY, CANDIDATES)
    genre = catalogue.item_texts["genre"]
    assert first.prefix.endswith(f"### History\n- ({genre[4]})\n### Candidate\n")
    assert empty.prefix.endswith("### History\n- None\n### Candidate\n")
    assert first.continuations[1] == f"- ({genre[6]})\n### Response\nAnswer:"
    assert first.answers == (" yes", " no")


def test_packed_queries_are_data():
    query = PackedQuery("a\n", ("b\n", "c\n", "d\n"))
    assert pickle.loads(pickle.dumps(query)) == query
    assert (query.width, query._replace(answers=(" yes", " no")).width) == (6, 6)
    assert query.text != query._replace(answers=(" yes", " no")).text != PackedQuery("a\n", ("b\nc\n", "d\n")).text
    assert (output_width([query, query], 11), output_width(["text"], 11)) == (6, 11)
    assert packed([query]) == [query] and packed(["text"]) == []
