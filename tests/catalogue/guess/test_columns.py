"""Roles of columns, by name and by values, and the settings that follow from them."""

from __future__ import annotations

import pytest

from tests.catalogue.guess.folders import (
    expected_sequences,
    item_rows,
    log_rows,
    put,
    seconds,
    shop,
    stars,
    through,
)
from tests.catalogue.made_up import sequences


@pytest.mark.parametrize(
    ("user", "item", "key"),
    [
        ("userId", "movieId", "movieId"),
        ("customer", "sku", "sku"),
        ("reviewerID", "asin", "asin"),
        ("visitorid", "itemid", "id"),
        ("CustomerID", "StockCode", "StockCode"),
        ("uid", "iid", "id"),
        ("user_idx", "track_idx", "track_idx"),
        ("session_id", "parent_asin", "parent_asin"),
        ("Member No", "Article Number", "Number"),
        ("a", "b", "c"),
    ],
)
def test_id_names(tmp_path, user, item, key):
    folder = shop(tmp_path / "shop", log_rows(user, item, timestamp=seconds), item_rows(key))
    guess, settings, catalogue = through(folder, tmp_path)
    assert (guess.pair.user.name, guess.pair.item.name, guess.pair.key.name) == (user, item, key)
    assert settings.catalogue.interactions.item == item
    assert sequences(catalogue) == expected_sequences()
    assert len(guess.warnings) == (1 if user == "a" else 0)


def test_integer_ids(tmp_path):
    """User ids and item ids overlap; the names distinguish them."""
    rows = [{"user": u, "item": (3 * u + s) % 30, "n": s} for s in range(5) for u in range(29)]
    items = [{"item": n, "title": f"title {n}"} for n in range(30)]
    guess, _, catalogue = through(shop(tmp_path / "shop", rows, items), tmp_path)
    assert (guess.pair.user.name, guess.pair.item.name) == ("user", "item")
    assert catalogue.n_users == 29


def test_two_user_columns(tmp_path):
    rows = log_rows("user_id", session_id=lambda u, s: 10 * u + s // 3, timestamp=seconds)
    guess, settings, _ = through(shop(tmp_path / "shop", rows), tmp_path)
    assert settings.catalogue.interactions.user == "user_id"
    assert guess.warnings == ["'session_id' may be the user id as well; 'user_id' was chosen"]


def test_position(tmp_path):
    rows = log_rows(position=lambda u, s: s, timestamp=lambda u, s: seconds(u, 0))[::-1]
    guess, settings, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert (
        settings.catalogue.interactions.position == "position" and settings.catalogue.interactions.time == "timestamp"
    )
    assert sequences(catalogue) == expected_sequences() and guess.warnings == []


@pytest.mark.parametrize("name", ["seq", "step", "order", "sequence_position"])
def test_position_names(tmp_path, name):
    rows = log_rows(**{name: lambda u, s: s + 1})[::-1]
    guess, _, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.position is not None and guess.position.name == name
    assert sequences(catalogue) == expected_sequences()


def test_display_position_is_not_used(tmp_path):
    """`position` is the default of the reader, so the scenario has to disable it."""
    rows = log_rows(position=lambda u, s: (u + s) % 3, timestamp=seconds)
    guess, settings, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert settings.catalogue.interactions.position == ""
    assert "'position' is not used as the position" in guess.warnings[0] and "40 users" in guess.warnings[0]
    assert sequences(catalogue) == expected_sequences()


@pytest.mark.parametrize("name", ["rating", "stars", "overall", "review_score", "Rating", "feedback"])
def test_ratings(tmp_path, name):
    rows = log_rows(timestamp=seconds, **{name: stars})
    guess, settings, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert settings.catalogue.interactions.rating == name
    assert guess.rating is not None and guess.rating.histogram == "1: 20%, 2: 20%, 3: 20%, 4: 20%, 5: 20%"
    assert (guess.rating.threshold, round(guess.rating.below, 3)) == (4.0, 0.6)
    assert settings.catalogue.filters.min_rating == 0 and "#   min_rating: 4" in (tmp_path / "guessed.yaml").read_text()
    assert "60% of the rows have a rating below 4" in guess.warnings[0]
    assert sorted(set(catalogue.rating)) == [1, 2, 3, 4, 5]


def test_rating_scales(tmp_path):
    fine = log_rows(timestamp=seconds, score=lambda u, s: round(0.5 + (u * 7 + s * 11) % 91 / 10, 1))
    guess, _, _ = through(shop(tmp_path / "a", fine), tmp_path)
    assert guess.rating is not None and guess.rating.histogram.startswith("from 0.5: ")
    assert (guess.rating.column.low, guess.rating.column.high) == (0.5, 9.5)
    signed = log_rows(timestamp=seconds, rating=lambda u, s: (-1, 0, 1)[(u + s) % 3])
    guess, _, _ = through(shop(tmp_path / "b", signed), tmp_path)
    assert "ratings start at -1" in guess.warnings[0]


def test_not_ratings(tmp_path):
    rows = log_rows(timestamp=seconds, helpful_votes=stars, average_rating=stars, rating=lambda u, s: "good")
    guess, settings, _ = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.rating is None and settings.catalogue.interactions.rating == ""
    assert "'rating' is not used as the rating: its values are not numbers" in guess.warnings


def test_attributes(tmp_path):
    items = item_rows(
        "asin",
        price=lambda n: n / 3,
        brand=lambda n: f"Maker {n % 4}",
        url=lambda n: f"https://example.org/{n}",
        code=lambda n: f"X{n}Y",
        description=lambda n: f"long text {n % 7} " * 40,
        in_stock=lambda n: ("true", "false")[n % 2],
        currency=lambda n: "EUR",
        rare=lambda n: ("seldom", "often")[n % 2] if n < 3 else "",
        added=lambda n: f"2020-01-{n % 28 + 1:02d}",
        kind=lambda n: ("tool", "toy")[n % 2],
    )
    guess, settings, catalogue = through(shop(tmp_path / "shop", log_rows(item="asin"), items), tmp_path)
    assert settings.catalogue.attributes == ("title", "brand", "kind")
    assert catalogue.item_texts["brand"][5] == "Maker 1"
    reasons = {column.name: why for column, why in guess.excluded}
    assert reasons == {
        "price": "numbers",
        "url": "URLs",
        "code": "codes",
        "description": "long: 479 characters on average",
        "in_stock": "Boolean",
        "currency": "constant",
        "rare": "empty in 90% of the rows",
        "added": "dates",
    }


def test_lists_and_nested_values(tmp_path):
    items = item_rows(tags=lambda n: ["red", "small"][: n % 2 + 1], size=lambda n: {"w": n})
    folder = tmp_path / "shop"
    put(folder, "interactions.jsonl", log_rows(timestamp=seconds))
    for ending in ("jsonl", "parquet"):
        path = put(folder, f"items.{ending}", items)
        _, settings, catalogue = through(folder, tmp_path)
        assert settings.catalogue.attributes == ("title", "tags")
        assert catalogue.item_texts["tags"][1] == "red, small"
        path.unlink()


def test_attribute_with_reserved_name(tmp_path):
    items = item_rows("sku", item_id=lambda n: f"The name of {n}")
    _, settings, catalogue = through(shop(tmp_path / "shop", log_rows(item="sku"), items), tmp_path)
    assert settings.catalogue.attributes == ("title", "item_id text")
    assert catalogue.item_texts["item_id text"][2] == "The name of 2"


def test_items_without_texts(tmp_path):
    items = [{"item_id": f"i{n}", "price": n} for n in range(30)]
    guess, settings, _ = through(shop(tmp_path / "shop", None, items), tmp_path)
    assert settings.catalogue.attributes == ()
    assert any("has no textual attribute" in warning for warning in guess.warnings)


def test_long_text_only(tmp_path):
    items = item_rows(title="abstract")
    items = [{"item_id": row["item_id"], "abstract": str(row["abstract"]) * 20} for row in items]
    guess, settings, _ = through(shop(tmp_path / "shop", None, items), tmp_path)
    assert settings.catalogue.attributes == ("abstract",)
    assert guess.excluded == []


def test_missing_texts(tmp_path):
    items = [{**row, "brand": ("Maker A", "Maker B", "", "null")[n % 4]} for n, row in enumerate(item_rows())]
    guess, _, _ = through(shop(tmp_path / "shop", None, items), tmp_path)
    assert guess.warnings == ["'brand' is missing for 47% of the items"]


def test_event_types(tmp_path):
    rows = log_rows(timestamp=seconds, event=lambda u, s: "view" if s else "buy")
    guess, _, _ = through(shop(tmp_path / "shop", rows), tmp_path)
    assert "'event' distinguishes types of interactions (view: 83%, buy: 17%)" in guess.warnings[0]


def test_filters_are_offered(tmp_path):
    rows = [*log_rows(timestamp=seconds), *log_rows(timestamp=lambda u, s: seconds(u, s) + 10**6)]
    rows.append({"user_id": "once", "item_id": "i0", "timestamp": 1_600_000_000})
    guess, settings, _ = through(shop(tmp_path / "shop", rows), tmp_path)
    text = (tmp_path / "guessed.yaml").read_text()
    assert "drop_repeats: true" in text and "50% of the rows" in text and "min_length: 2" in text
    assert settings.catalogue.filters == type(settings.catalogue.filters)()  # all commented out
    assert (guess.lengths.median, guess.lengths.max) == (12, 12)


@pytest.mark.parametrize(
    ("log", "items", "noun"),
    [
        ("movieId", "movieId", "movie"),
        ("asin", "asin", "product"),
        ("track_id", "id", "track"),
        ("item_id", "item_id", "item"),
        ("isbn", "isbn", "book"),
    ],
)
def test_item_noun(tmp_path, log, items, noun):
    guess, settings, _ = through(shop(tmp_path / "shop", log_rows(item=log), item_rows(items)), tmp_path)
    assert guess.item_noun == settings.judge.item_noun == noun


@pytest.mark.parametrize(("items", "horizon", "candidates"), [(3, 1, 2), (12, 7, 4), (30, 19, 10), (300, 20, 10)])
def test_small_catalogues(tmp_path, items, horizon, candidates):
    rows = [{"user_id": u, "item_id": (u + s) % items, "timestamp": 10**9 + s} for u in range(300) for s in range(3)]
    texts = [{"item_id": n, "title": f"thing {n}"} for n in range(items)]
    _, settings, _ = through(shop(tmp_path / "shop", rows, texts), tmp_path)
    assert (settings.users.horizon, settings.judge.candidates) == (horizon, candidates)
    assert (settings.agent.history, settings.agent.mask_recent) == (horizon + 1, -1)
    assert settings.users.world == "sequence"
