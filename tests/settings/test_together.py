"""Values that a library would refuse after minutes, and combinations that mean nothing, are refused when read."""

from __future__ import annotations

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.settings import load, parse_judge_model

REFUSED = {  # settings -> words of the message
    ("seeds=[4294967296]",): "seeds is 4294967296\n  expected: from 0 to 2147483647",
    ("users.seed=2147483648",): "users.seed is 2147483648",
    ("seeds=[]",): "seeds: is empty",
    ("adapt.methods=[]",): "adapt.methods: is empty",
    ("adapt.methods=[a2c, dqn, a2c]",): "adapt.methods: holds 'a2c' twice",
    ("judge.tune.targets=[]",): "judge.tune.targets: is empty",
    ("judge.tune.also=[runs/x, runs/x]",): "judge.tune.also: holds 'runs/x' twice",
    ("adapt.alpha.start=0.9", "adapt.alpha.end=0.2"): "adapt.alpha.start: is 0.9",
    ("agent.warmup=300", "agent.replay=200"): "agent.warmup: is 300",
    ("pretrain.mode=live",): "pretrain.loss: is listwise, which goes through a table",
    ("pretrain.preference_model.rows=9", "pretrain.loss=actor_critic"): "pretrain.preference_model.rows: is 9",
    ("pretrain.preference_model.rows=9", "agent.candidates.count=50"): "pretrain.preference_model.rows: is 9",
    ("agent.mask_recent=-2",): "agent.mask_recent is -2",
    ("agent.dim=30", "agent.heads=4"): "agent.heads: is 4",
    ("judge.gpus=1.5",): "judge.gpus: is 1.5",
    ("agent.advantage_clip=.nan",): "agent.advantage_clip is nan",
    ("agent.gradient_clip=1.0e+300",): "agent.gradient_clip is 1e+300",
    ('judge.platform="a\\0b"',): "text without NUL characters",
    ('judge.model=""',): "judge.model: is empty",
    ("agent.candidates.popular=7", "agent.candidates.count=9"): "popular: is 7, and 21 items may be masked",
    ("adapt.critic=train_world", "agent.candidates.count=9"): "adapt.critic: is train_world",
    ("agent.calibration=1", "agent.candidates.count=9"): "agent.calibration: is 1",
    ("adapt.critic=log", "agent.candidates.count=9"): "adapt.critic: is log",
    ("agent.exploration=epsilon_greedy", "agent.candidates.count=9"): "agent.exploration: is epsilon_greedy",
    ("adapt.alpha.by=session", "agent.candidates.count=9"): "adapt.alpha.by: is session",
    ("pretrain.mode=live", "pretrain.loss=actor_critic", "agent.candidates.count=9"): "pretrain.mode: is live",
    ("scenario=..",): "scenario: is '..'",
    (f"scenario={'x' * 201}",): "scenario: has 201 bytes",
}


@pytest.mark.parametrize("overrides", REFUSED, ids=lambda overrides: overrides[0][:30])
def test_refused(overrides: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as error:
        load("sample", list(overrides))
    assert REFUSED[overrides] in str(error.value)


def test_accepted() -> None:
    assert load("sample", ["seeds=[2147483647]"]).seeds == (2**31 - 1,)
    falling = ["adapt.alpha.start=0.9", "adapt.alpha.end=0.2", "adapt.alpha.shape=constant"]
    assert load("sample", falling).adapt.alpha.start == 0.9


@pytest.mark.parametrize(
    ("value", "kind", "folder"),
    [
        ("tiny", "llm", ""),
        ("some/model", "llm", ""),
        ("oracle", "oracle", ""),
        ("tfidf", "tfidf", ""),
        ("popularity", "popularity", ""),
        ("embedding:models/mini", "embedding", "models/mini"),
        ("embedding:C:/x", "embedding", "C:/x"),
        ("embeddings", "llm", ""),
    ],
)
def test_the_letters_of_judge_model(value: str, kind: str, folder: str) -> None:
    assert parse_judge_model(value) == (kind, folder)
    judge = load("sample", [f"judge.model={value}"]).judge
    assert judge.kind == kind and judge.is_llm == (kind == "llm") == judge.is_tuned


@pytest.mark.parametrize("value", ["embedding", "'embedding:'"])
def test_an_embedding_needs_a_folder(value: str) -> None:
    with pytest.raises(InputError, match="embedding:FOLDER"):
        load("sample", [f"judge.model={value}"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["agent.item_vectors=sentences"], "words, llm, or embedding:FOLDER"),
        (["agent.item_vectors='embedding:'"], "words, llm, or embedding:FOLDER"),
        (["agent.item_vectors=llm", "judge.model=tfidf"], r"the judge \(tfidf\) is none"),
    ],
    ids=["unknown", "no folder", "no LLM"],
)
def test_item_vectors_that_cannot_be_made(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("sample", overrides)
