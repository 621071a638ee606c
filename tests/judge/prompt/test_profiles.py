"""What prompts say of the user: attributes, and what was rated high and low in the visible log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.protocol import EngineUsage
from ialp_rllib.judge.forms.make import make_form
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.prompt.packed import text_of
from ialp_rllib.settings import JudgeSettings, ProfileSettings

RATINGS = {0: [(0, 5), (1, 1), (2, 4), (3, 2), (4, 5), (5, 4)], 1: [(6, 3)], 2: [(0, 5), (7, 1)], 3: [(1, 5)]}
HISTORY, CANDIDATES = np.array([[8], [8], [8]]), np.array([[4, 7], [0, 7], [5, 6]])
USERS = np.array([0, 1, 2])


@pytest.fixture(scope="module")
def rated() -> Catalogue:
    """Three users of the log, the last of whom is a test user, and one without an age whose rating is held out."""
    user, item, rating = zip(*((u, i, r) for u, rows in RATINGS.items() for i, r in rows), strict=True)
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(9)], object),
        item_texts={"name": np.array([f"coat {n}" for n in range(9)], object)},
        user_ids=np.array(["a", "b", "c", "d"], object),
        user_texts={
            "gender": np.array(["women", "men", "women", "men"], object),
            "age": np.array(["20", "30", "40", ""], object),
        },
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        rating=np.array(rating, np.float32),
        split=np.array([*[0] * 9, 1], np.int8),
        test_users=np.array([2]),
    )


def judge_of(shows: str, **other: object) -> JudgeSettings:
    profile = ProfileSettings(shows=shows, items=2)
    return dataclasses.replace(JudgeSettings(candidates=2, min_rating=4.0, profile=profile), **other)  # type: ignore[arg-type]


def test_a_profile_has_attributes_and_the_highest_and_lowest_ratings_the_latest_first(rated: Catalogue) -> None:
    builder = PromptBuilder(rated, judge_of("ratings"))
    first, second, test = builder.profiles_of(USERS, CANDIDATES)
    assert first == ("### User\ngender: women, age: 20\nLiked:\n- coat 4\n- coat 0\nDisliked:\n- coat 1\n- coat 3\n")
    assert second == "### User\ngender: men, age: 30\nDisliked:\n- coat 6\n"
    assert test == "### User\ngender: women, age: 40\n", "of a test user nothing but the attributes"
    assert builder.profiles_of(np.array([3]), CANDIDATES[:1]) == ["### User\ngender: men\n"], "held-out rows neither"
    assert builder.profiles_of(None, CANDIDATES) == ["", "", ""]
    for prompt, who in zip(builder.build(HISTORY, CANDIDATES, USERS), (first, second, test), strict=True):
        assert prompt.startswith(f"{builder.frame}{who}### History\n- (coat 8)\n")


def test_what_is_learnt_from_names_no_candidate(rated: Catalogue) -> None:
    [prompt] = PromptBuilder(rated, judge_of("ratings")).build(HISTORY[:1], CANDIDATES[:1], USERS[:1], learnt_from=True)
    assert "Liked:\n- coat 0\nDisliked:" in prompt and prompt.count("coat 4") == 1


@pytest.mark.parametrize("answer", ["letter", "likelihood", "yes_no"])
def test_all_forms_say_it_and_none_says_nothing(rated: Catalogue, answer: str) -> None:
    texts, prints = {}, set()
    for shows in ("none", "attributes", "ratings"):
        form = make_form(judge_of(shows, answer=answer, orders=2), rated)
        texts[shows] = [text_of(prompt) for prompt in form.build(HISTORY, CANDIDATES, None, USERS)]
        assert texts[shows] != texts["none"] or shows == "none"
        plain = [text_of(prompt) for prompt in form.build(HISTORY, CANDIDATES, None)]
        assert plain == (texts["none"] if shows == "none" else plain) and "women" not in "".join(plain)
        prints.add(form.fingerprint)
    step = 2 if answer == "letter" else 1
    assert len(prints) == 3 and len(texts["none"]) == 3 * step
    for row, gender in enumerate(("women", "men", "women")):
        for text in texts["attributes"][row * step : (row + 1) * step]:
            assert f"gender: {gender}" in text and "iked" not in text
    assert "Liked:\n- coat 4" in texts["ratings"][0]


def test_the_text_alone_is_asked_without_a_user(rated: Catalogue) -> None:
    with_user, plain = (LineBuilder(rated, judge_of(shows)) for shows in ("ratings", "none"))
    assert with_user.alone(np.array([3])) == plain.alone(np.array([3]))
    [query] = with_user.build(HISTORY[:1], CANDIDATES[:1], USERS[:1])
    assert query.prefix.startswith("About the user:\ngender: women") and query.prefix.endswith(plain.prefix(HISTORY[0]))


class Recorder:
    """Access to engines that keeps what it is asked."""

    capacity = engines = 1

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def info(self) -> dict[str, str]:
        return {"model_fingerprint": "none"}

    def usage(self) -> EngineUsage:
        return EngineUsage(len(self.prompts), 0, 0.0)

    def submit(self, prompts: list[str]) -> int:
        self.prompts += prompts
        return 0


def test_a_judge_tells_engines_and_cache_who_is_asked_for(rated: Catalogue) -> None:
    client, keys, prints = Recorder(), set(), set()
    for shows in ("none", "attributes", "ratings"):
        judge = LLMJudge(client, rated, judge_of(shows))  # type: ignore[arg-type]
        pending = judge.submit(HISTORY[[0, 0]], CANDIDATES[[0, 0]], users=USERS[:2])
        keys |= set(pending.keys)
        prints.add(judge.info()["prompt_fingerprint"])
    assert len(prints) == 3 and len(keys) == 1 + 2 + 2
    assert [prompt.count("gender: women") for prompt in client.prompts] == [0, 0, 1, 0, 1, 0]


def test_users_without_what_is_asked_for_are_refused(rated: Catalogue) -> None:
    bare = dataclasses.replace(rated, user_texts={})
    with pytest.raises(InputError, match=r"judge\.profile\.shows: is attributes, and the users have no attributes"):
        PromptBuilder(bare, judge_of("attributes"))
    assert "User" not in PromptBuilder(bare, judge_of("ratings")).profiles_of(np.array([2]), CANDIDATES[:1])[0]
    for unknown in (
        dataclasses.replace(rated, rating=np.full(len(rated.rating), np.nan, np.float32)),
        dataclasses.replace(rated, hidden_users=rated.train_users),
    ):
        with pytest.raises(InputError, match=r"judge\.profile\.shows: is ratings, and the visible log has no rating"):
            PromptBuilder(unknown, judge_of("ratings"))
