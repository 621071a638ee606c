"""Source `lfm`: synthetic files in the official format of LFM-1b."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import source_files
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from tests.catalogue.made_up import read, sequences, settings_for

HOUR = 3600
EVENTS = [  # (user, artist, album, track, time), not sorted by time
    (31, 1, 10, 100, 1_300_000_000 + 60),
    (31, 1, 11, 101, 1_300_000_000),
    (31, 2, 20, 200, 1_300_000_000 + 2 * HOUR),
    (31, 1, 10, 100, 1_300_000_000 + 2 * HOUR + 200),
    (45, 2, 20, 200, 1_400_000_000),
    (45, 1, 11, 100, 1_400_000_300),
    (45, 3, 30, 300, 1_400_000_600),
    (45, 9, 90, 900, 1_400_000_900),  # in no other file
]
TRACKS = [
    (100, 'Say "Hello"', 1),
    (101, '"unbalanced', 1),
    (200, "Þorparinn", 2),
    (300, "It's; a, test\\", 3),
    (400, "never heard", 3),
    (100, "a second name", 1),
]
ALBUMS = [(10, "Ten", 1), (11, 'The "Best" of', 1), (20, "Sígur", 2), (30, "", 3)]
ARTISTS = [(1, '"Weird Al"'), (2, "Sigur Rós"), (3, "Motörhead")]
ATTRIBUTES = ["title", "album", "artist"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name, rows in (("LEs", EVENTS), ("tracks", TRACKS), ("albums", ALBUMS), ("artists", ARTISTS)):
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (tmp_path / f"LFM-1b_{name}.txt").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def lfm(archive: Path) -> Callable[..., Catalogue]:
    return lambda **filters: read(archive, source="lfm", attributes=ATTRIBUTES, filters=filters)


def test_sessions_and_names_of_tracks(lfm: Callable[..., Catalogue]) -> None:
    catalogue = lfm(session_gap=1.0)
    assert sequences(catalogue) == {
        "31/1": ["101", "100"],
        "31/2": ["200", "100"],
        "45/1": ["200", "100", "300", "900"],
    }
    texts = {
        item: tuple(catalogue.item_texts[name][n] for name in ATTRIBUTES) for n, item in enumerate(catalogue.item_ids)
    }
    assert texts == {  # album: the one with most events; tracks without events are omitted
        "100": ('Say "Hello"', "Ten", '"Weird Al"'),
        "101": ('"unbalanced', 'The "Best" of', '"Weird Al"'),
        "200": ("Þorparinn", "Sígur", "Sigur Rós"),
        "300": ("It's; a, test\\", "", "Motörhead"),
        "900": ("", "", ""),
    }
    assert catalogue.notes == (
        "1 of 5 items have no title.",
        "2 of 5 items have no album.",
        "1 of 5 items have no artist.",
    )
    assert len({name.split("/")[0] for name in catalogue.user_ids[catalogue.test_users]}) == 1


def test_names_are_loaded_after_filtering(lfm: Callable[..., Catalogue]) -> None:
    catalogue = lfm(session_gap=1.0, item_core=2)
    assert set(catalogue.item_ids) == {"100", "200"}
    assert "have no" not in " ".join(catalogue.notes)


def test_sample_of_users(archive: Path) -> None:
    with (archive / "LFM-1b_LEs.txt").open("a") as file:
        file.writelines(f"{1000 + n % 50}\t1\t10\t{100 + n // 50 % 2}\t{1_300_000_000 + n}\n" for n in range(500))
    catalogue = read(archive, source="lfm", attributes=["title"], filters={"max_users": 5})
    assert catalogue.n_users == 5
    assert "A sample of at most 5 users of LFM-1b_LEs.txt (catalogue.filters)." in catalogue.notes


def test_malformed_names_are_skipped_malformed_events_are_errors(archive: Path, lfm: Callable[..., Catalogue]) -> None:
    with (archive / "LFM-1b_tracks.txt").open("a") as file:
        file.write("9\ta name\twith a tab\t1\n500\n")
    assert "2 rows of LFM-1b_tracks.txt cannot be read and were skipped." in lfm().notes
    with (archive / "LFM-1b_LEs.txt").open("a") as file:
        file.write("45\t1\t10\t100\tyesterday\n")
    with pytest.raises(
        InputError, match=r"LFM-1b_LEs.txt, row 9, field 'timestamp': has the value 'yesterday'"
    ) as error:
        lfm()
    assert "Unix seconds" in error.value.expected


def test_missing_files_and_attributes(archive: Path, lfm: Callable[..., Catalogue]) -> None:
    settings = settings_for(archive, source="lfm", attributes=ATTRIBUTES)
    assert [path.name for path in source_files(settings)] == [
        "LFM-1b_LEs.txt",
        "LFM-1b_tracks.txt",
        "LFM-1b_albums.txt",
        "LFM-1b_artists.txt",
    ]
    (archive / "LFM-1b_albums.txt").unlink()
    (archive / "LFM-1b_artists.txt").write_bytes(b"")
    with pytest.raises(InputError, match=r"LFM-1b_albums\.txt: no such file"):
        lfm()
    problems = {problem.where.rsplit("_", 1)[-1]: problem.problem for problem in validate(settings)}
    assert problems["albums.txt"] == "no such file"
    assert "empty" in problems["artists.txt"]
    with pytest.raises(InputError, match="'mood' is not in LFM-1b"):
        read(archive, source="lfm", attributes=["mood"])


def test_scenario(archive: Path) -> None:
    from ialp_rllib.catalogue.sources.read import read_source

    loose = ["catalogue.filters.item_core=2", "catalogue.filters.min_length=2"]
    catalogue = read_source(load("lfm", [f"catalogue.data={archive}", *loose]).catalogue)
    assert list(catalogue.item_texts) == ATTRIBUTES
    assert catalogue.n_users == 2
