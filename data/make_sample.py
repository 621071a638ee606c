"""Generate the sample scenario: 300 tracks, 1,000 listeners with known preferences, and their listening sessions.

Usage: ``python data/make_sample.py [--out data/sample] [--seed 0]``

Writes ``items.parquet``, ``interactions.parquet`` and ``users.parquet`` (byte-identical for equal seeds), and prints
how well counting matching attributes distinguishes a listener's true next track from 9 tracks without an interaction.
``data/make_tiny_judge.py`` imports the preference model below and samples other listeners from it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GENRES = (
    *("driftwave", "embercore", "fogfolk", "glasspop", "harborsoul", "ironswing"),
    *("junglehop", "kettlejazz", "loamrock", "marshbeat", "nightchoir", "orbitfunk"),
)
MOODS = ("airy", "bright", "calm", "dusky", "eager", "fierce", "gloomy", "hazy", "jolly", "tender")
MAKER_STARTS = ("Bel", "Cor", "Dav", "Fen", "Gal", "Hol", "Mir", "Nor")
MAKER_ENDS = ("aba", "ette", "ino", "olk", "ura")
TITLE_STARTS = ("Amber", "Broken", "Copper", "Distant", "Early", "Folded", "Golden", "Hidden", "Inner", "Low")
TITLE_ENDS = ("Anchor", "Bridge", "Candle", "Door", "Engine", "Feather", "Garden", "Hill", "Island", "Lantern")

N_ITEMS, N_USERS = 300, 1000
SHORTEST, LONGEST = 10, 16  # session lengths
ONE_GENRE = 0.9  # fraction of listeners who like one genre; the others like two
MOODS_LIKED, MAKERS_LIKED = 5, 0.5  # number of moods; fraction of the makers of a liked genre
GENRE_WEIGHT, MAKER_WEIGHT, MOOD_WEIGHT = 8.0, 3.0, 6.0  # in units of the Gumbel noise of a choice


@dataclass(frozen=True)
class Items:
    """Attribute codes of the tracks, each ``(I,) int``, and ``home``: ``(40,)``, the genre of each maker."""

    genre: np.ndarray
    maker: np.ndarray
    mood: np.ndarray
    home: np.ndarray

    def texts(self) -> dict[str, np.ndarray]:
        """Attribute name -> ``(I,)`` values as text."""
        makers = np.array([start + end for start in MAKER_STARTS for end in MAKER_ENDS])
        return {
            "genre": np.array(GENRES)[self.genre],
            "maker": makers[self.maker],
            "mood": np.array(MOODS)[self.mood],
        }


@dataclass(frozen=True)
class Tastes:
    """Liked genres, makers and moods of listeners: boolean ``(U, 12)``, ``(U, 40)``, ``(U, 10)``."""

    genres: np.ndarray
    makers: np.ndarray
    moods: np.ndarray

    def utility(self, items: Items) -> np.ndarray:
        """``(U, I)`` utilities: the probability of a choice is proportional to exp(utility)."""
        return (
            GENRE_WEIGHT * self.genres[:, items.genre]
            + MAKER_WEIGHT * self.makers[:, items.maker]
            + MOOD_WEIGHT * self.moods[:, items.mood]
        )


def draw_items(rng: np.random.Generator) -> Items:
    """Sample tracks: genres are equally frequent, and nine of ten tracks are by a maker of their genre."""
    n_makers = len(MAKER_STARTS) * len(MAKER_ENDS)
    home = rng.permutation(np.arange(n_makers) % len(GENRES))
    genre = rng.permutation(np.arange(N_ITEMS) % len(GENRES))
    guests = rng.random(N_ITEMS) < 0.1
    maker = np.array([rng.integers(n_makers) if g else rng.choice(np.nonzero(home == c)[0])
                      for c, g in zip(genre, guests, strict=True)])  # fmt: skip
    return Items(genre, maker, rng.integers(0, len(MOODS), N_ITEMS), home)


def draw_tastes(n_users: int, items: Items, rng: np.random.Generator) -> Tastes:
    """Sample preferences: one or two genres, half of their makers, and half of the moods."""
    n_genres = np.where(rng.random((n_users, 1)) < ONE_GENRE, 1, 2)
    genres = _ranks((n_users, len(GENRES)), rng) < n_genres
    makers = (rng.random((n_users, len(items.home))) < MAKERS_LIKED) & genres[:, items.home]
    return Tastes(genres, makers, _ranks((n_users, len(MOODS)), rng) < MOODS_LIKED)


def draw_sessions(utility: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Sample sessions without replacement from the softmax of the utilities, in random order.

    The items with the highest utility plus Gumbel noise are such a sample (Yellott 1977).

    Args:
        utility: ``(U, I)``.
        length: number of items of each session.
        rng: source of randomness.

    Returns:
        ``(U, length)`` items, distinct in each row.
    """
    noisy = utility + rng.gumbel(size=utility.shape)
    chosen = np.argpartition(-noisy, length, axis=1)[:, :length]
    return rng.permuted(chosen, axis=1)


def _ranks(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.random(shape).argsort(1).argsort(1)


def count_scorer(items: Items, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Scores ``(B, k)`` of candidates by counting attributes that match the history: a simple reference."""
    scores = np.zeros(candidates.shape)
    for codes, weight in ((items.genre, 2.0), (items.maker, 1.0), (items.mood, 1.5)):
        matches = (codes[candidates][:, :, None] == codes[history][:, None, :]).mean(2)
        scores += weight * (np.minimum(matches, 0.3) / 0.3 if codes is items.genre else np.sqrt(matches))
    return scores


def tables(seed: int) -> tuple[Items, Tastes, dict[str, pa.Table], np.ndarray]:
    """The sample: items, preferences, the three tables, and the sessions ``(U, 16)``."""
    rng = np.random.default_rng(seed)
    items = draw_items(rng)
    tastes = draw_tastes(N_USERS, items, rng)
    sessions = draw_sessions(tastes.utility(items), LONGEST, rng)
    lengths = rng.integers(SHORTEST, LONGEST + 1, N_USERS)
    item_ids = np.array([f"t{i:03d}" for i in range(N_ITEMS)])
    user_ids = np.array([f"u{u:04d}" for u in range(N_USERS)])
    words = items.texts()
    pairs = rng.choice(len(TITLE_STARTS) * len(TITLE_ENDS) * 3, N_ITEMS, replace=False)
    suffix = ("", " II", " III")
    titles = [f"{TITLE_STARTS[p // 10 % 10]} {TITLE_ENDS[p % 10]}{suffix[p // 100]}" for p in pairs]
    user, position = np.nonzero(np.arange(LONGEST) < lengths[:, None])
    makers = np.array([start + end for start in MAKER_STARTS for end in MAKER_ENDS])
    liked = {
        name: [", ".join(np.array(names)[row]) for row in rows]
        for name, names, rows in (
            ("liked_genres", GENRES, tastes.genres),
            ("liked_makers", makers, tastes.makers),
            ("liked_moods", MOODS, tastes.moods),
        )
    }
    return items, tastes, {
        "items": pa.table({"item_id": item_ids, "title": titles, **words}),
        "users": pa.table({"user_id": user_ids, **liked}),
        "interactions": pa.table(
            {
                "user_id": user_ids[user],
                "position": position.astype(np.int32),
                "item_id": item_ids[sessions[user, position]],
            }
        ),
    }, sessions  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sample")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    items, tastes, files, sessions = tables(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, table in files.items():
        path = arguments.out / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd")
        print(f"{path}: {table.num_rows} rows, {path.stat().st_size:,} bytes")
    report(items, tastes, sessions)


def report(items: Items, tastes: Tastes, sessions: np.ndarray) -> None:
    """Print how often the true next track is identified, by the length of the history."""
    rng = np.random.default_rng(1)
    utility = tastes.utility(items)
    negatives = np.array([rng.choice(np.setdiff1d(np.arange(N_ITEMS), s), 9, replace=False) for s in sessions])
    print("true next track among 9 without an interaction (chance 0.10):")
    for length in (1, 2, 3, 5, 7, 10, 15):
        candidates = np.concatenate([sessions[:, [length]], negatives], 1)
        tie = 1e-6 * rng.random(candidates.shape)
        counted = count_scorer(items, sessions[:, max(0, length - 10) : length], candidates) + tie
        known = np.take_along_axis(utility, candidates, 1) + tie
        hits = [(s.argmax(1) == 0).mean() for s in (counted, known)]
        print(f"  history {length:2d}: counting matches {hits[0]:.3f}, known preferences {hits[1]:.3f}")
    print(f"items with a liked genre and a liked mood: {(utility >= GENRE_WEIGHT + MOOD_WEIGHT).mean():.3f} of all")


if __name__ == "__main__":
    main()
