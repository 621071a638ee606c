"""What the letters of `judge.model` mean: an LLM, or one of the judges that are none."""

from __future__ import annotations

from typing import NamedTuple

LLM = "llm"  # kind of every value that is none of the following
ORACLE = "oracle"  # the value that selects the oracle, which knows the test world
RATINGS = "ratings"  # a model of the train users' ratings
EMBEDDING = "embedding"  # `embedding:FOLDER`: similarity of text vectors
TFIDF = "tfidf"  # similarity of the words
POPULARITY = "popularity"  # counts of the visible log
WORDS = "words"  # of `agent.item_vectors`, which also takes `embedding:FOLDER` and `llm`
CONTROLS_ARE = {
    EMBEDDING: "similarity of text vectors to the history's",
    TFIDF: "similarity of words to the history's (tf-idf)",
    POPULARITY: "number of interactions in the visible log",
}
CONTROLS = tuple(CONTROLS_ARE)


class JudgeModel(NamedTuple):
    """A value of `judge.model`, or of `--model`.

    Attributes:
        kind: :data:`LLM`, :data:`ORACLE`, :data:`RATINGS`, or one of :data:`CONTROLS`.
        folder: of an `embedding`: its encoder's folder, as written; else empty.
    """

    kind: str
    folder: str = ""


def parse_judge_model(name: str) -> JudgeModel:
    """The kind of judge that a value of `judge.model` selects. The only place where its letters are read."""
    kind, colon, folder = name.partition(":")
    if kind == EMBEDDING and (colon or not folder):
        return JudgeModel(EMBEDDING, folder)
    return JudgeModel(name if name in (ORACLE, RATINGS, TFIDF, POPULARITY) else LLM)
