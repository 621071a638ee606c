"""Sessions and filters, compared with a plain Python version of the rules; the train/test split by person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.settings import FilterSettings
from tests.catalogue.made_up import read, sequences

HOUR = 3600
SECONDS = {"time_unit": "seconds"}  # of logs whose times start at 0


def rare_log(seed: int, rows: int = 700) -> pd.DataFrame:
    """A log with popular and rare users and items, gaps in time, and missing ratings."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": [f"u{n}" for n in rng.zipf(1.5, rows) % 60],
            "item_id": [f"i{n}" for n in rng.zipf(1.3, rows) % 90],
            "timestamp": rng.permutation(rows) * 60 * 11,
            "rating": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 6, rows)),
        }
    )


def by_hand(log: pd.DataFrame, filters: FilterSettings) -> list[tuple[str, list[str]]]:
    """(user, items) of each sequence, by the rules in the documentation of the settings, row by row."""
    pieces: list[tuple[str, list[str]]] = []
    for user in log["user_id"].drop_duplicates():
        rows = log[log["user_id"] == user].sort_values("timestamp")
        if filters.min_rating:
            rows = rows[~(rows["rating"] < filters.min_rating)]
        sessions: list[list[str]] = []
        last = None
        for item, time in zip(rows["item_id"], rows["timestamp"], strict=True):
            if last is None or (filters.session_gap and time - last > filters.session_gap * HOUR):
                sessions.append([])
            sessions[-1].append(item)
            last = time
        for session in sessions:
            kept = list(dict.fromkeys(session)) if filters.drop_repeats else session
            step = filters.max_length or len(kept)
            pieces += [(user, kept[start : start + step]) for start in range(0, len(kept), step)]
    while True:
        items = Counter(item for _, piece in pieces for item in piece)
        users = Counter(user for user, piece in pieces for _ in piece)
        left = [
            (user, [i for i in piece if items[i] >= filters.item_core])
            for user, piece in pieces
            if users[user] >= filters.user_core and len(piece) >= max(1, filters.min_length)
        ]
        left = [(user, piece) for user, piece in left if piece]
        if left == pieces:
            return pieces
        pieces = left


@pytest.mark.parametrize(
    "tree",
    [
        {"item_core": 3, "user_core": 3},
        {"item_core": 6, "user_core": 6},
        {"session_gap": 10.0},
        {"session_gap": 3.0, "min_length": 2, "item_core": 4},
        {"max_length": 4},
        {"max_length": 5, "min_length": 3, "item_core": 2, "user_core": 7},
        {"drop_repeats": True, "item_core": 3},
        {"min_rating": 3.0},
        {
            "min_rating": 2.5,
            "session_gap": 24.0,
            "drop_repeats": True,
            "max_length": 6,
            "item_core": 3,
            "min_length": 2,
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_filters_equal_the_plain_version(tree: dict[str, Any], seed: int, tmp_path: Path) -> None:
    log = rare_log(seed)
    log.to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(90)], "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    expected = by_hand(log, FilterSettings(**tree))
    catalogue = read(tmp_path, filters=tree, interactions=SECONDS)
    assert len(expected) > 2
    assert list(sequences(catalogue).values()) == [items for _, items in expected]
    if "session_gap" in tree or "max_length" in tree:
        count: Counter[str] = Counter()
        for n, (user, _) in enumerate(expected):
            count[user] += 1
            assert catalogue.user_ids[n] == f"{user}/{count[user]}"
    else:
        assert catalogue.user_ids.tolist() == [user for user, _ in expected]
    used = {item for _, piece in expected for item in piece}
    assert (set(catalogue.item_ids) == used) == (tree.get("item_core", 0) > 0)


def test_core_needs_several_passes(tmp_path: Path) -> None:
    """A chain in which each removal makes the next user or item too rare, and a 2 x 2 block that remains."""
    pairs = [(f"u{n}", f"i{n + d}") for n in range(8) for d in (0, 1)] + [
        ("v", "a"),
        ("v", "b"),
        ("w", "a"),
        ("w", "b"),
    ]
    rows = [{"user_id": u, "item_id": i, "timestamp": n} for n, (u, i) in enumerate(pairs)]
    pd.DataFrame(rows).to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": sorted({i for _, i in pairs}), "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    catalogue = read(tmp_path, filters={"user_core": 2, "item_core": 2})
    assert sequences(catalogue) == {"v": ["a", "b"], "w": ["a", "b"]}
    assert catalogue.item_ids.tolist() == ["a", "b"]
    assert catalogue.notes == ("The filters leave 4 of 20 interactions (catalogue.filters).",)


def test_gap_equal_to_the_setting_does_not_split(tmp_path: Path) -> None:
    rows = [
        {"user_id": user, "item_id": "ab"[time % 2], "timestamp": time}
        for user in ("u", "v")
        for time in (0, HOUR, 2 * HOUR + 1, 2 * HOUR + 2)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "interactions.csv", index=False)
    (tmp_path / "items.csv").write_text("item_id,title\na,t\nb,t\n")
    sessions = sequences(read(tmp_path, filters={"session_gap": 1.0}, interactions=SECONDS))
    assert {user: len(items) for user, items in sessions.items()} == {"u/1": 2, "u/2": 2, "v/1": 2, "v/2": 2}


def test_sequences_of_a_person_are_not_split_between_train_and_test(tmp_path: Path) -> None:
    log = rare_log(3)
    log.to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(90)], "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    catalogue = read(tmp_path, filters={"session_gap": 2.0}, interactions=SECONDS, test_share=0.3)
    person = np.array([name.rsplit("/", 1)[0] for name in catalogue.user_ids])
    test, valid = set(person[catalogue.test_users]), set(person[catalogue.valid_users])
    train = set(person[catalogue.train_users])
    assert max(Counter(person).values()) > 5
    assert not test & train and not valid & train and not test & valid
    assert len(test) == round(0.3 * len(set(person))) and len(valid) == round(0.1 * len(set(person)))


def test_sample_of_users_is_seeded_and_keeps_whole_logs(tmp_path: Path) -> None:
    log = rare_log(5)
    log.to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(90)], "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    everyone = sequences(read(tmp_path))
    drawn = [sequences(read(tmp_path, filters={"max_users": 7, "sample_seed": seed})) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])
    for sample in drawn:
        assert len(sample) == 7
        assert all(everyone[user] == items for user, items in sample.items())


def test_filters_that_remove_everything_and_gaps_without_times(tmp_path: Path) -> None:
    log = rare_log(0)
    log.to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(90)], "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    with pytest.raises(InputError, match=r"leave none of the 700 interactions; the last ones went with user_core"):
        read(tmp_path, filters={"user_core": 10_000})
    with pytest.raises(InputError, match=r"session_gap: needs times"):
        read(tmp_path, interactions={"time": ""}, filters={"session_gap": 1.0})
    log.assign(timestamp=log["timestamp"] * 10**12).to_csv(tmp_path / "interactions.csv", index=False)
    with pytest.raises(InputError, match=r"field 'timestamp': holds numbers in an unknown unit"):
        read(tmp_path, filters={"session_gap": 1.0})
