"""Decisions and feedback in any order: every shown decision becomes one transition, with the right end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ialp_rllib.results.logged import check_logged, logged_table
from ialp_rllib.serving.join import Joined, Joiner
from ialp_rllib.serving.sessions import Step, session_odds
from ialp_rllib.serving.states import States
from ialp_rllib.settings.serving import FeedbackSettings
from tests.serving.small import ITEMS, NETWORK, L, N

SETTINGS = FeedbackSettings(reward_high=5.0, default_reward=0.5, feedback_timeout=10.0, session_timeout=30.0)


def make_joiner() -> Joiner:
    return Joiner(SETTINGS, States(NETWORK, ITEMS, level_range=(0.0, 5.0)))


def decision(name: str, items: Sequence[int], item: int | Sequence[int], t: float = 0.0, **more: Any) -> dict[str, Any]:
    chosen = [item] if isinstance(item, int) else list(item)
    row = {
        "id": name,
        "t": t,
        "session": "s",
        "items": [ITEMS[i] for i in items],
        "chosen": [ITEMS[i] for i in chosen],
        "p": [0.25] * len(chosen),
        "version": 3,
        "alpha": 0.5,
        "arm": "promoted",
    }
    return {**row, **more}


def answer(name: str, reward: float = 1.0, ended: str = "", t: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"decision": name, "reward": reward, "ended": ended, "t": t, **more}


def items_of(joined: Joined) -> list[int]:
    return joined.columns["actions"].tolist() if joined else []


def test_a_session_to_its_end() -> None:
    join = make_joiner()
    assert not join.add([decision("a", [0], 1)], [answer("a", 2.0)], 1)  # how it goes on is not known yet
    joined = join.add([decision("b", [0, 1], 2)], [], 2)
    assert items_of(joined) == [1] and not joined.columns["terminateds"][0]
    assert joined.columns["obs"].tolist() == [[0, N, N, N, N, 0]]
    assert joined.columns["new_obs"].tolist() == [[0, N, N, N, 0, 1]]
    assert joined.columns["rewards"].tolist() == [2.0]
    joined = join.add([], [answer("b", 3.0, "left")], 3)
    assert items_of(joined) == [2] and joined.columns["terminateds"][0] and not joined.columns["truncateds"][0]
    table = check_logged(logged_table(joined.logged), "log")
    assert table["position"].to_pylist() == [0, 1] and table["ended"].to_pylist() == ["", "left"]
    assert table["items"].to_pylist() == [[ITEMS[0]], [ITEMS[0], ITEMS[1]]]
    assert table["probability"].to_pylist() == [0.25, 0.25] and table["reward"].to_pylist() == [2.0, 3.0]
    (session,) = joined.sessions
    assert (session.arm, session.version, session.reward) == ("promoted", 3, 5.0)
    assert join.open == 0


def test_log_odds_are_asked_for_where_transitions_carry_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(steps: Sequence[Step]) -> list[tuple[float, float]]:
        asked.append(len(steps))
        return session_odds(steps)

    monkeypatch.setattr("ialp_rllib.serving.join.session_odds", counted)
    for by_session in (False, True):
        asked.clear()
        join = Joiner(SETTINGS, States(NETWORK, ITEMS, level_range=(0.0, 5.0)), by_session)
        first = decision("a", [0], 1, parts=[[0.2], [0.4]])
        join.add([first], [answer("a", 2.0)], 1)
        assert asked == [], "no step is complete"
        joined = join.add([decision("b", [0, 1], 2, parts=[[0.5], [0.1]])], [], 2)
        assert asked == ([1] if by_session else []) and ("odds" in joined.columns) == by_session
        joined = join.add([], [answer("b", 3.0, "left")], 3)
        assert asked == ([1, 2] if by_session else [])
        if by_session:
            assert joined.columns["odds"].tolist() == pytest.approx([np.log(2)])
            assert joined.columns["next_odds"].tolist() == pytest.approx([np.log(2) - np.log(5)])


def test_a_limit_is_no_departure() -> None:
    joined = make_joiner().add([decision("a", [0], 1)], [answer("a", ended="limit")], 1)
    assert joined.columns["truncateds"].tolist() == [True] and joined.columns["terminateds"].tolist() == [False]


def test_silence_is_a_departure() -> None:
    join = make_joiner()
    join.add([decision("a", [0], 1)], [answer("a", t=5.0)], 6)
    assert not join.add([], [], 34.9)
    joined = join.add([], [], 35.0)
    assert joined.columns["terminateds"].tolist() == [True] and joined.logged["ended"] == ["left"]


def test_shown_without_feedback_gets_the_default_reward_after_the_timeout() -> None:
    join = make_joiner()
    join.add([decision("a", [0], 1), decision("b", [0, 1], 2, t=2.0)], [answer("b", t=3.0)], 9)
    joined = join.add([], [], 10)
    assert joined.columns["rewards"].tolist() == [0.5] and items_of(joined) == [1]
    assert join.add([], [answer("a", 4.0)], 11).columns == {}  # too late
    assert join.counts["feedback_twice_or_late"] == 1 and join.counts["defaulted"] == 1


def test_what_was_never_shown_is_left_out() -> None:
    join = make_joiner()
    joined = join.add([decision("lost", [0], 1)], [], 100)
    assert not joined and not joined.sessions and join.counts["not_shown"] == 1
    # The answer to a retried request was lost: the second one was shown.
    rows = [decision("x", [0], 1), decision("y", [0], 2, t=1.0), decision("z", [0, 2], 3, t=2.0)]
    joined = join.add(rows, [answer("y"), answer("z", ended="limit")], 101)
    assert sorted(items_of(joined)) == [2, 3] and joined.logged["position"] == [0, 1]


def test_a_session_whose_last_decision_was_never_shown_was_cut_off() -> None:
    """Its user asked for another item, so that nobody knows of a departure: neither the learner nor the log."""
    join = make_joiner()
    learnt = join.add([decision("a", [0], 1), decision("lost", [0, 1], 2, t=2.0)], [answer("a")], 3)
    assert items_of(learnt) == [1] and not learnt.columns["terminateds"][0]
    joined = join.add([], [], 100)
    assert not joined and joined.logged["decision"] == ["a"] and joined.logged["ended"] == ["limit"]


def test_a_retry_that_drew_the_same_item_counts_once() -> None:
    join = make_joiner()
    rows = [decision("x", [0], 1), decision("y", [0], 1, t=1.0), decision("z", [0, 1], 3, t=2.0)]
    joined = join.add(rows, [answer("y", 2.0), answer("z", ended="limit")], 3)
    assert sorted(zip(items_of(joined), joined.columns["rewards"].tolist(), strict=True)) == [(1, 2.0), (3, 1.0)]
    assert join.counts["retried"] == 1


def test_an_item_shown_twice_is_not_taken_for_its_first_time() -> None:
    join = make_joiner()
    join.add([decision("x", [1, 0], 1), decision("y", [1, 0, 5], 6, t=1.0)], [answer("y", ended="limit")], 2)
    joined = join.add([], [], 50)
    assert join.counts["not_shown"] == 1 and not joined


def test_feedback_counts_once_and_may_come_first() -> None:
    join = make_joiner()
    assert not join.add([], [answer("a", 2.0, "limit"), answer("a", 4.0, "limit")], 1)
    joined = join.add([decision("a", [], 1), decision("a", [], 1)], [answer("a", 3.0)], 2)
    assert joined.columns["rewards"].tolist() == [2.0]
    assert not join.add([], [answer("a", 3.0), answer("never")], 3)
    assert join.counts["decisions_twice"] == 1 and join.counts["feedback_twice_or_late"] == 3
    join.add([], [], 1000)
    assert join.counts["feedback_without_decision"] == 1


def test_a_session_after_its_end_is_another_one() -> None:
    join = make_joiner()
    first = join.add([decision("a", [0], 1)], [answer("a", ended="left")], 1)
    second = join.add([decision("b", [0, 1], 2, t=2.0)], [answer("b", ended="left", t=3.0)], 3)
    assert first.logged["session"] == ["s~a"] and second.logged["session"] == ["s~b"]
    assert second.logged["position"] == [0] and join.add([], [answer("a")], 4).columns == {}


def visits() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Three visits under one id, of two decisions each; of the first two the first answer comes never or late."""
    decisions, answers = [], []
    for visit in range(3):
        start = 10.0 * visit
        for step in range(2):
            decisions.append(decision(f"{visit}-{step}", [0, 1][: step + 1], step + 1, t=start + step))
        answers.append(answer(f"{visit}-1", 2.0, "left", t=start + 2))
    answers.append(answer("1-0", 5.0, t=24.0))
    return decisions, answers


@pytest.mark.parametrize("together", [True, False])
def test_visits_under_one_id_stay_apart(together: bool) -> None:
    """However they are read: one after the other, or all of a backlog at once."""
    join, (decisions, answers) = make_joiner(), visits()
    found = []
    if together:
        found.append(join.add(decisions, answers, 0.0))
    else:
        for visit in range(3):
            found.append(join.add(decisions[2 * visit : 2 * visit + 2], [answers[visit]], 0.0))
        found.append(join.add([], answers[3:], 0.0))
    found.append(join.add([], [], 100.0))
    rows = [
        row for one in found for row in zip(*(one.logged[n] for n in ("session", "decision", "reward")), strict=True)
    ]
    assert sorted(rows) == [
        ("s~0-0", "0-0", 0.5),
        ("s~0-0", "0-1", 2.0),
        ("s~1-0", "1-0", 5.0),
        ("s~1-0", "1-1", 2.0),
        ("s~2-0", "2-0", 0.5),
        ("s~2-0", "2-1", 2.0),
    ]
    assert join.open == 0 and sum(map(len, found)) == 6


def test_an_id_that_is_used_again_much_later_is_another_session() -> None:
    join, names = make_joiner(), []
    for number, session in enumerate(["s", "s", "s~2"]):
        start = 1000.0 * number
        rows = [decision(f"{number}", [0], 1, t=start, session=session)]
        names += join.add(rows, [answer(f"{number}", ended="left", t=start + 1)], start + 2).logged["session"]
    assert len(set(names)) == 3


def test_a_slate_is_learnt_from_place_by_place() -> None:
    join = make_joiner()
    joined = join.add([decision("a", [0], [1, 2, 3])], [answer("a", 2.0, "left", item=ITEMS[2])], 1)
    assert items_of(joined) == [2]
    assert join.add([], [answer("a", 2.0, item=ITEMS[9])], 2).columns == {}
    assert join.counts["feedback_for_another_item"] == 1
    joined = join.add([], [], 11)  # the others were shown, too
    assert sorted(items_of(joined)) == [1, 3] and joined.columns["rewards"].tolist() == [0.5, 0.5]
    assert joined.logged["decision"] == [] and join.counts["slates"] == 3


def test_sessions_of_two_versions_and_fallbacks_are_marked() -> None:
    rows = [decision("a", [0], 1), decision("b", [0, 1], 2, version=4, fallback="slow")]
    joined = make_joiner().add(rows, [answer("a"), answer("b", ended="limit")], 1)
    (session,) = joined.sessions
    assert (session.version, session.mixed, session.fallback) == (3, True, True)


@pytest.mark.parametrize("seed", range(6))
def test_in_any_order_with_restarts_every_decision_is_learnt_once(seed: int) -> None:
    rng, join = random.Random(seed), make_joiner()
    rows: list[tuple[str, dict[str, Any]]] = []
    expected = {}
    for session in range(40):
        items, length = [rng.randrange(N)], rng.randint(1, 8)
        for step in range(length):
            name, item = f"{session}-{step}", rng.choice([i for i in range(N) if i not in items])
            ended = rng.choice(["left", "limit"]) if step == length - 1 else ""
            rows.append(("d", decision(name, items, item, t=float(step), session=f"s{session}")))
            if rng.random() < 0.1:  # a retried request, whose answer was lost
                rows.append(("d", decision(f"{name}-lost", items, item, t=step + 0.1, session=f"s{session}")))
            reward = float(rng.randrange(6))
            rows += [("f", answer(name, reward, ended, t=step + 0.5))] * rng.choice([1, 1, 2])
            expected[f"s{session}", step] = (item, reward, ended)
            items = [*items, item]
    # Late by up to 200 rows. The last word of a session comes last: what is decided is logged before it is answered.
    ends = {id(row): 1_000_000 for kind, row in rows if kind == "f" and row["ended"]}
    order = sorted(range(len(rows)), key=lambda i: i + rng.random() * 200 + ends.get(id(rows[i][1]), 0))
    found: dict[tuple[str, int], tuple[int, float, str]] = {}
    learnt, sealed = 0, 0
    for start in range(0, len(order), 17):
        part = [rows[i] for i in order[start : start + 17]]
        joined = join.add([r for k, r in part if k == "d"], [r for k, r in part if k == "f"], 9.0)
        learnt += len(joined)
        sealed += len(joined.sessions)
        for n, session in enumerate(joined.logged["session"]):
            item = ITEMS.index(joined.logged["item"][n])
            place = (session.partition("~")[0], joined.logged["position"][n])
            assert place not in found
            found[place] = (item, joined.logged["reward"][n], joined.logged["ended"][n])
        if rng.random() < 0.2:
            state = json.loads(json.dumps(join.get_state()))
            join = make_joiner()
            join.set_state(state)
    assert found == expected and learnt == len(expected) and sealed == 40
    assert join.open == 0


def test_states_with_answers_and_users() -> None:
    import dataclasses

    network = dataclasses.replace(NETWORK, feedback=3, user_codes=np.zeros((2, 1), int), user_sizes=[1])
    states = States(network, ITEMS, ["ann", "bob"], (0.0, 5.0))
    assert states.known([ITEMS[3], "new", ITEMS[4]], [1, 2, 3]) == ([ITEMS[3], ITEMS[4]], [1, 3], 1)
    assert states.known([ITEMS[3]], []) == ([ITEMS[3]], [0], 0)
    seen = states.observe([[ITEMS[3], ITEMS[4]], []], [[1, 3], []], ["bob", "ann"])
    assert seen.tolist() == [[1, N, N, N, 3 + (N + 1), 4 + 3 * (N + 1)], [0] + [N] * L]
    after = states.after(seen, np.array([7, 8]), np.array([5.0, 0.0], np.float32))
    assert after[:, -1].tolist() == [7 + 3 * (N + 1), 8 + (N + 1)] and after[0, 4] == seen[0, 5]
