"""Scores for names of columns and files: how well a name matches a role, by synonyms that public data sets use."""

from __future__ import annotations

import re

_WORD_LISTS = """
user: user customer client member visitor reviewer account person people subscriber buyer shopper player listener
user: viewer reader rater profile consumer household patron student guest passenger owner uid msno
session: session sequence basket cart visit cookie device ip
id: id ids idx index key code no nr num number hash
time: time timestamp date datetime ts unixtime epoch when day created at
other time: birth dob born release released updated modified expires end until signup registered
rating: rating ratings stars star score overall grade rate vote preference
other rating: count total average avg mean helpful number predicted
position: position pos order seq sequence step rank index nr place turn
title: title name headline label
text: category categories genre genres brand maker manufacturer artist author album director publisher developer studio
text: color colour type department section topic tags keywords mood style material cuisine city language format class
text: subcategory series cast actors subtitle platform product main
event: event behavior behaviour action activity interaction
not text: url link image img
product code: asin sku isbn ean gtin upc iid pid mid
log file: interaction inter rating review event log click view purchase transaction order play listen history sequence
log file: behavior behaviour feedback session train action stream sale visit checkin playcount
user file: user customer client member reviewer account people listener player profile visitor
item file: catalog catalogue meta metadata inventory
"""
NOUNS = {  # word in a column or file name -> noun for an item in the prompt, platform that offers the items
    "item": ("item", "a shop"),
    "product": ("product", "an online shop"),
    "asin": ("product", "an online shop"),
    "sku": ("product", "an online shop"),
    "ean": ("product", "an online shop"),
    "gtin": ("product", "an online shop"),
    "upc": ("product", "an online shop"),
    "stock": ("product", "an online shop"),
    "goods": ("product", "an online shop"),
    "article": ("article", "a website"),
    "news": ("news article", "a news website"),
    "movie": ("movie", "a movie platform"),
    "film": ("movie", "a movie platform"),
    "show": ("show", "a streaming platform"),
    "video": ("video", "a video platform"),
    "anime": ("anime", "an anime platform"),
    "book": ("book", "an online bookshop"),
    "isbn": ("book", "an online bookshop"),
    "track": ("track", "a music platform"),
    "song": ("song", "a music platform"),
    "album": ("album", "a music platform"),
    "artist": ("artist", "a music platform"),
    "podcast": ("podcast", "a podcast platform"),
    "game": ("game", "an online shop for video games"),
    "app": ("app", "an app store"),
    "recipe": ("recipe", "a recipe website"),
    "restaurant": ("restaurant", "a restaurant guide"),
    "business": ("business", "a directory of local businesses"),
    "venue": ("venue", "a location-based social network"),
    "poi": ("point of interest", "a location-based social network"),
    "hotel": ("hotel", "a hotel booking website"),
    "course": ("course", "an online learning platform"),
    "job": ("job", "a job board"),
    "listing": ("listing", "a marketplace"),
    "offer": ("offer", "a marketplace"),
    "content": ("item", "a platform"),
    "post": ("post", "a social network"),
    "beer": ("beer", "a beer rating website"),
    "wine": ("wine", "a wine shop"),
    "iid": ("item", "a shop"),
    "pid": ("product", "an online shop"),
    "mid": ("movie", "a movie platform"),
}


def _parse(lists: str) -> dict[str, frozenset[str]]:
    """Name of a list -> its words; a list may span several lines."""
    lines = [line.partition(":") for line in lists.strip().splitlines()]
    return {name: frozenset(w for n, _, text in lines if n == name for w in text.split()) for name, _, _ in lines}


_LISTS = _parse(_WORD_LISTS)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_]+")


def words(name: str) -> list[str]:
    """Words of a name in lower case: ``reviewerID`` -> reviewer, id; ``unix_time`` -> unix, time."""
    return [word.lower() for word in _WORD.findall(name)]


def user_score(name: str) -> int:
    """Score of a column name for user ids: 3 (``user_id``), 2 (a synonym), 1 (a session), 0 (no match)."""
    core = _without_id_words(name)
    if core in (["user"], ["uid"]):
        return 3
    if not core or core[-1] in _LISTS["title"]:
        return 0
    return 2 if core[-1] in _LISTS["user"] else 1 if core[-1] in _LISTS["session"] else 0


def item_score(name: str) -> int:
    """Score of a column name for item ids: 3 (``item_id``), 2 (a synonym with an id suffix), 1 (without), 0."""
    core = _without_id_words(name)
    if not core or core[-1] not in NOUNS:
        return 0
    if core == ["item"]:
        return 3
    return 2 if core[-1] in _LISTS["product code"] or core != words(name) else 1


def time_score(name: str) -> int:
    """Score of a column name for the time of an interaction: 3 (``timestamp``), 2, 1 or 0."""
    parts = words(name)
    if not parts or is_other_time(name):
        return 0
    if parts in (["timestamp"], ["ts"]):
        return 3
    if set(parts) & _LISTS["time"]:
        return 2
    return 1 if parts[-1].endswith(("time", "date", "stamp")) else 0


def is_other_time(name: str) -> bool:
    """Whether a column name denotes a time other than that of the interaction, such as a release or birth date."""
    return bool(set(words(name)) & _LISTS["other time"])


def rating_score(name: str) -> int:
    """Score of a column name for the rating of an interaction: 3 (``rating``), 2 (a synonym) or 0."""
    parts = words(name)
    if not set(parts) & _LISTS["rating"] or set(parts) & _LISTS["other rating"]:
        return 0
    return 3 if parts == ["rating"] else 2


def position_score(name: str) -> int:
    """Score of a column name for the position in a user's sequence: 3 (``position``), 2 (a synonym) or 0."""
    parts = words(name)
    if parts == ["position"]:
        return 3
    return 2 if parts and set(parts) & _LISTS["position"] and parts[-1] != "id" else 0


def text_score(name: str) -> int:
    """Score of a column name for a textual item attribute: 3 (a title), 2 (brand, genre, ...) or 0."""
    parts = words(name)
    if not parts or parts[-1] in _LISTS["id"] or parts[-1] in _LISTS["not text"]:
        return 0
    return 3 if parts[-1] in _LISTS["title"] else 2 if set(parts) & _LISTS["text"] else 0


def is_event_type(name: str) -> bool:
    """Whether a column name denotes the type of an interaction, such as view or purchase."""
    parts = words(name)
    return bool(set(parts) & _LISTS["event"]) and not set(parts) & (_LISTS["id"] | _LISTS["time"])


def is_known(name: str) -> bool:
    """Whether a name is a usual column name, which suggests that the line it occurs in is a header."""
    scores = (user_score, item_score, time_score, rating_score, position_score, text_score)
    return any(score(name) for score in scores) or name.strip().lower() in (
        "id",
        "description",
        "price",
        "year",
        "event",
    )


def file_score(stem: str, table: str) -> float:
    """Score of a file name for a table.

    Args:
        stem: file name without extensions.
        table: ``interactions``, ``items`` or ``users``.

    Returns:
        3 for the name of the table, 2 for a synonym, 1 if synonyms of several tables occur, -2 for a synonym of
        another table, 0 otherwise.
    """
    parts = words(stem)
    if table in (parts[:1] + parts[-1:]):
        return 3.0
    synonyms = {
        "interactions": _LISTS["log file"],
        "items": {*NOUNS, *_LISTS["item file"]},
        "users": _LISTS["user file"],
    }
    singular = {_singular(word) for word in parts}
    matches = {name for name, known in synonyms.items() if singular & known}
    if table in matches:
        return 2.0 if len(matches) == 1 else 1.0
    return -2.0 if matches else 0.0


def item_noun(*candidates: str) -> tuple[str, str]:
    """Noun for an item and platform, from the first of several names that contains a specific noun."""
    general = NOUNS["item"]
    for name in candidates:
        for word in words(name):
            noun = NOUNS.get(word) or NOUNS.get(_singular(word)) or NOUNS.get(_without_id_suffix(word), general)
            if noun[0] != "item":
                return noun
    return general


def _without_id_words(name: str) -> list[str]:
    """Words of a column name without those that denote an id."""
    parts = words(name)
    while len(parts) > 1 and parts[-1] in _LISTS["id"]:
        parts = parts[:-1]
    if parts:
        parts[-1] = _without_id_suffix(parts[-1])
    return parts


def _without_id_suffix(word: str) -> str:
    """``visitorid`` -> visitor, if the rest is a word for users or items."""
    for suffix in ("id", "idx", "code", "number"):
        stem = word.removesuffix(suffix)
        if stem != word and (stem in NOUNS or stem in _LISTS["user"] or stem in _LISTS["session"]):
            return stem
    return word


def _singular(word: str) -> str:
    if word in ("movies", "cookies"):
        return word[:-1]
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and word not in ("news", "people", "business", "goods") else word
