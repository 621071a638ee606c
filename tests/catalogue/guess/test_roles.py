"""Roles of tables, and errors for folders in which they are missing or ambiguous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ialp_rllib.catalogue.guess import guess_folder, profile
from tests.catalogue.guess.folders import (
    ITEMS,
    expected_sequences,
    item_rows,
    log_rows,
    put,
    scenario,
    seconds,
    shop,
    stars,
    through,
)
from tests.catalogue.guess.test_formats import commands, error_for, run
from tests.catalogue.made_up import sequences


def people(**columns: object) -> list[dict[str, object]]:
    return [{"user_id": f"u{n}", "country": ("AT", "BE")[n % 2], **columns} for n in range(40)]


def test_movielens_as_published(tmp_path):
    """Three of the tables have movieId, two of them userId and timestamp."""
    folder = tmp_path / "ml-latest-small"
    put(folder, "ratings.csv", log_rows("userId", "movieId", rating=stars, timestamp=seconds))
    put(folder, "tags.csv", log_rows("userId", "movieId", tag=lambda u, s: "funny", timestamp=seconds)[:90])
    put(folder, "movies.csv", item_rows("movieId", genres=lambda n: ("Drama|Comedy", "Action")[n % 2]))
    put(folder, "links.csv", [{"movieId": f"i{n}", "imdbId": 114000 + n, "tmdbId": 862 + n} for n in range(ITEMS)])
    (folder / "README.txt").write_text("Summary, of the data: 1, 2, 3\n" * 10)
    guess, settings, catalogue = through(folder, tmp_path)
    assert (guess.pair.log.file, guess.pair.items.file) == ("ratings.csv", "movies.csv")
    assert settings.catalogue.attributes == ("title", "genres")
    assert (settings.judge.item_noun, settings.judge.platform) == ("movie", "a movie platform")
    assert {file.path.name for file in guess.skipped} == {"tags.csv", "links.csv"}
    assert sequences(catalogue) == expected_sequences()


def test_neutral_names(tmp_path):
    folder = tmp_path / "data"
    put(folder, "a.csv", log_rows("x", "y", z=seconds))
    put(folder, "b.csv", item_rows("k", "w"))
    guess, _, catalogue = through(folder, tmp_path)
    assert (guess.pair.log.file, guess.pair.user.name, guess.pair.item.name) == ("a.csv", "x", "y")
    assert guess.warnings == ["'x' was chosen as the user id by its values alone"]
    assert sequences(catalogue) == expected_sequences()


def test_misleading_file_names(tmp_path):
    """The content of a file counts more than its name."""
    folder = tmp_path / "data"
    put(folder, "products.csv", log_rows("customer", "sku", at=seconds))
    put(folder, "orders.csv", item_rows("sku"))
    guess, _, _ = through(folder, tmp_path)
    assert guess.pair.log.file == "products.csv"


def test_user_table_read_by_name(tmp_path):
    folder = shop(tmp_path / "shop")
    rows = [{"uid": row["user_id"], "country": row["country"]} for row in people()]
    put(folder, "users.csv", rows)
    guess, settings, catalogue = through(folder, tmp_path)
    assert (settings.catalogue.users.file, settings.catalogue.users.id) == ("users.csv", "uid")
    assert catalogue.n_users == 40 and guess.warnings == []


def test_user_table_with_another_name(tmp_path):
    folder = shop(tmp_path / "shop")
    put(folder, "customers.csv", people())
    guess, settings, _ = through(folder, tmp_path)
    assert guess.users is not None and guess.users.table.file == "customers.csv"
    assert settings.catalogue.users.file == ""
    assert "# users: {file: customers.csv, id: user_id}" in (tmp_path / "guessed.yaml").read_text()


def test_missing_users(tmp_path):
    folder = shop(tmp_path / "shop")
    put(folder, "users.csv", people()[:30])
    guess = guess_folder(folder)
    assert "10 of 40 user ids in interactions.csv are not in users.csv" in guess.warnings[0]


def test_missing_items(tmp_path):
    guess = guess_folder(shop(tmp_path / "shop", items=item_rows()[:25]))
    assert "5 of 30 item ids in interactions.csv are not in items.csv; `ialp prepare` rejects" in guess.warnings[0]


def test_duplicate_items(tmp_path):
    guess = guess_folder(shop(tmp_path / "shop", items=[*item_rows(), item_rows()[3]]))
    assert "1 rows of items.csv repeat an id" in guess.warnings[0]


def test_malformed_rows(tmp_path):
    folder = shop(tmp_path / "shop")
    path = folder / "interactions.csv"
    path.write_text(path.read_text() + "u1,i1\n")
    assert "1 rows of interactions.csv are malformed" in guess_folder(folder).warnings[0]


def test_invalid_lines(tmp_path):
    folder = shop(tmp_path / "shop", items=item_rows(maker=lambda n: f"Müller {n % 4}"))
    path = folder / "items.csv"
    path.write_bytes(path.read_bytes().replace("no 3,Mü".encode(), b"no 3,M\xfc"))
    assert "1 lines of items.csv are not valid UTF-8" in guess_folder(folder).warnings[0]


def test_large_files(tmp_path, monkeypatch):
    """Ids are looked up in the whole item table."""
    monkeypatch.setattr(profile, "ROWS", 20)
    guess, _, catalogue = through(shop(tmp_path / "shop"), tmp_path)
    assert (guess.pair.log.scope, guess.pair.items.complete) == ("the first 20 rows", False)
    assert guess.pair.matched == guess.pair.ids and guess.warnings == []
    assert sequences(catalogue) == expected_sequences()


@pytest.mark.parametrize("name", ["missing", "file.csv"])
def test_no_folder(tmp_path, name):
    (tmp_path / "file.csv").write_text("a,b\n")
    error = error_for(tmp_path / name)
    assert error.where == str(tmp_path / name) and error.problem in ("no such folder", "is a file")


def test_no_tables(tmp_path):
    (tmp_path / "notes.txt").write_text("Nothing, really.\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "summary.json").write_text(json.dumps({"users": 3}, indent=2))
    (tmp_path / "deeper").mkdir()
    error = error_for(tmp_path)
    assert error.where == str(tmp_path) and error.problem == "contains no readable table"
    assert "an interaction log" in error.expected and "RecBole" in error.expected


def test_log_only(tmp_path):
    """The error contains a command that creates the item table."""
    folder = tmp_path / "shop"
    rows = log_rows("customer", "sku", at=seconds, product_title=lambda u, s: f"Thing, {(7 * u + 5 * s) % ITEMS}")
    put(folder, "sales.csv", rows)
    error = error_for(folder)
    assert "contains a single table: sales.csv (columns customer, sku, at, product_title)" in error.problem
    assert "to create a table of the items in sales.csv, with the attributes product_title" in error.expected
    run(commands(error)[-1])
    guess, settings, catalogue = through(folder, tmp_path)
    assert settings.catalogue.attributes == ("product_title",) and guess.item_noun == "product"
    assert catalogue.item_texts["product_title"][catalogue.item_ids.tolist().index("i7")] == "Thing, 7"


def test_items_only(tmp_path):
    put(tmp_path / "shop", "items.csv", item_rows())
    error = error_for(tmp_path / "shop")
    assert "contains a single table: items.csv" in error.problem and "to create" not in error.expected


def test_two_logs(tmp_path):
    folder = shop(tmp_path / "shop")
    (folder / "interactions.csv").unlink()
    put(folder, "views.csv", log_rows(timestamp=seconds))
    put(folder, "purchases.csv", log_rows(at=seconds))
    error = error_for(folder)
    assert error.where == str(folder)
    assert "purchases.csv" in error.problem and "views.csv" in error.problem and "the interaction log" in error.problem
    assert "renamed to interactions.*" in error.expected


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_log_in_two_parts(tmp_path, ending):
    folder = shop(tmp_path / "shop", ending=ending)
    (folder / f"interactions.{ending}").unlink()
    rows = log_rows(timestamp=seconds)
    put(folder, f"train.{ending}", rows[:160])
    put(folder, f"test.{ending}", rows[160:])
    error = error_for(folder)
    assert "same columns" in error.expected
    run(commands(error)[-1])
    (folder / f"train.{ending}").unlink()
    (folder / f"test.{ending}").unlink()
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


def test_two_tables_of_items(tmp_path):
    folder = shop(tmp_path / "shop")
    (folder / "items.csv").unlink()
    put(folder, "products_de.csv", item_rows())
    put(folder, "products_en.csv", item_rows())
    error = error_for(folder)
    assert "two candidates for the item table" in error.problem and "renamed to items.*" in error.expected


def test_default_file_name_is_preferred(tmp_path):
    folder = shop(tmp_path / "shop")
    put(folder, "clicks.csv", log_rows(timestamp=seconds))
    guess = guess_folder(folder)
    assert guess.pair.log.file == "interactions.csv"
    assert "clicks.csv may be the log as well; interactions.csv was chosen" in guess.warnings


def test_ids_in_different_formats(tmp_path):
    """As pandas writes an integer column with missing values."""
    rows = [
        {"user_id": u, "item_id": f"{(u + s) % ITEMS + 100}.0", "timestamp": 10**9 + s}
        for u in range(40)
        for s in range(5)
    ]
    items = [{"item_id": n + 100, "title": f"thing {n}"} for n in range(ITEMS)]
    error = error_for(shop(tmp_path / "shop", rows, items))
    assert (
        "contains no table that matches the items of interactions.csv, column 'item_id' ('100.0', '101.0', '102.0')"
        in error.problem
    )
    assert "items.csv, column 'item_id' ('100', '101', '102'; 30 ids in 30 rows)" in error.problem


def test_no_users(tmp_path):
    rows = [{"item_id": f"i{n % ITEMS}", "timestamp": 1_600_000_000 + n} for n in range(200)]
    error = error_for(shop(tmp_path / "shop", rows))
    assert "has no column of user ids" in error.problem and "item_id, timestamp" in error.problem


def test_neither_users_nor_items(tmp_path):
    folder = tmp_path / "data"
    put(folder, "one.csv", [{"temperature": n / 7, "pressure": n / 3} for n in range(50)])
    put(folder, "two.csv", [{"height": n / 7, "width": n / 3} for n in range(50)])
    error = error_for(folder)
    assert "contains no table with user ids and item ids" in error.problem
    assert "one.csv (columns temperature, pressure)" in error.problem


def test_many_files(tmp_path):
    folder = tmp_path / "shop"
    for n in range(41):
        put(folder, f"part-{n:03d}.csv", log_rows()[:3])
    error = error_for(folder)
    assert "contains 41 files" in error.problem and "to merge the parts" in error.expected


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (["train.ascii", "test.ascii", "user_item_features/x"], "ialp run coat --data"),
        (["LFM-1b_LEs.txt"], "ialp run lfm --data"),
        (["Prime_Pantry_5.json.gz", "meta_Prime_Pantry.json.gz"], "ialp run amazon --data"),
    ],
)
def test_official_archives(tmp_path, names, command):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1 2\n")
    assert command in error_for(tmp_path).expected


def test_names_with_special_characters(tmp_path):
    """Names with quotes, colons, line breaks, and words that YAML takes for other types."""
    folder = tmp_path / "it's: a #shop"
    put(folder, "log: of #1, 'all'.csv", log_rows("user: id", "yes", **{"when # now": seconds}))
    put(folder, "null.csv", item_rows("no", "the\ntitle \u2028[x]", **{"*brand": lambda n: f"maker {n % 3}"}))
    _, settings, catalogue = through(folder, tmp_path)
    log = settings.catalogue.interactions
    assert (log.file, log.user, log.item, log.time) == ("log: of #1, 'all'.csv", "user: id", "yes", "when # now")
    assert settings.catalogue.items.file == "null.csv" and settings.catalogue.items.id == "no"
    assert settings.catalogue.attributes == ("*brand", "the\ntitle \u2028[x]")
    assert sequences(catalogue) == expected_sequences()


def test_every_line_has_a_comment(tmp_path):
    rows = log_rows(timestamp=seconds, rating=stars)
    guess = guess_folder(shop(tmp_path / "shop", rows))
    scenario(guess, tmp_path)
    before = ""
    for line in (tmp_path / "guessed.yaml").read_text().splitlines():
        assert "#" in line or before.strip().startswith("#"), line
        assert len(line) <= 120 and "session_gap" not in line
        before = line


@pytest.mark.parametrize("name", ["industry_data", "lastfm_data", "games_data"])
def test_real_data(name, request, tmp_path):
    """The guessed scenario reads the same data as the scenario of the package."""
    folder: Path = request.getfixturevalue(name)
    guess, settings, catalogue = through(folder, tmp_path)
    from ialp_rllib.catalogue.sources.read import read_source
    from ialp_rllib.settings import load

    written = read_source(load(name.removesuffix("_data"), [f"catalogue.data={folder}"]).catalogue)
    assert (catalogue.n_users, catalogue.n_items) == (written.n_users, written.n_items)
    assert (catalogue.item == written.item).all() and (catalogue.user == written.user).all()
    expected = {"industry": {"title", "brand", "categories"}, "lastfm": {"artist_name"}, "games": {"title"}}
    assert set(settings.catalogue.attributes) == expected[name.removesuffix("_data")]
    assert guess.warnings == []
