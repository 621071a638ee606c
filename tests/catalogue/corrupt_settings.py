"""Corruptions of the settings: of the tree, and of its YAML text."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.catalogue.corrupt_tables import cut_out, flip, insert, inserted, other_encoding, truncate
from tests.catalogue.valid_data import DataSet

# --- the scenario -----------------------------------------------------------------------------------------------------


def put(*choices: tuple[str, Any]) -> Callable[[DataSet, Random], None]:
    """Set a dotted key to a value."""

    def corrupt(d: DataSet, r: Random) -> None:
        key, value = r.choice(choices)
        *groups, last = key.split(".")
        tree = d.scenario
        for name in groups:
            tree = tree.setdefault(name, {})
            if not isinstance(tree, dict):
                return
        tree[last] = value
        d.wrong.add(key)

    return corrupt


def on_text(change: Callable[[bytes, Random], bytes]) -> Callable[[DataSet, Random], None]:
    def corrupt(d: DataSet, r: Random) -> None:
        d.texts.append(lambda text: change(text, r))
        d.wrong.add("scenario.yaml")

    return corrupt


def appended(*what: str) -> Callable[[DataSet, Random], None]:
    return on_text(lambda text, r: text + r.choice(what).encode())


def replaced(*what: str) -> Callable[[DataSet, Random], None]:
    return on_text(lambda text, r: r.choice(what).encode())


def line_inserted(*what: str) -> Callable[[DataSet, Random], None]:
    def change(text: bytes, r: Random) -> bytes:
        lines = text.split(b"\n")
        lines.insert(r.randrange(len(lines)), r.choice(what).encode())
        return b"\n".join(lines)

    return on_text(change)


def line_twice(text: bytes, r: Random) -> bytes:
    lines = text.split(b"\n")
    n = r.randrange(len(lines))
    return b"\n".join([*lines[: n + 1], *lines[n:]])


_WRONG = [
    None,
    True,
    "many",
    3,
    -1,
    2.5,
    [],
    ["x"],
    [[1]],
    {},
    {"a": 1},
    {1: 2},
    "",
    float("nan"),
    float("inf"),
    10**18,
    10**400,
]
_KEYS = ("scenario", "seeds", "catalogue", "catalogue.attributes", "catalogue.items", "catalogue.items.columns")
_KEYS += (
    "catalogue.interactions.user",
    "catalogue.test_share",
    "catalogue.memory_mb",
    "catalogue.threads",
    "users.world",
)
_KEYS += (
    "catalogue.source",
    "catalogue.data",
    "agent.gamma",
    "agent.history",
    "agent",
    "catalogue.filters.session_gap",
)
_BOMB = "scenario: [&a [x, x, x, x, x, x, x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a], &c [*b, *b, *b, *b, *b, *b], "
_BOMB += "&d [*c, *c, *c, *c, *c, *c, *c], &e [*d, *d, *d, *d, *d, *d, *d], [*e, *e, *e, *e, *e, *e, *e]]\n"

SCENARIOS: dict[str, Callable[[DataSet, Random], None]] = {
    "wrong mapping": put(
        ("catalogue.items.columns", {"title": "titel"}),
        ("catalogue.items.columns", {"tittle": "name"}),
        ("catalogue.items.columns", {"title": "\ud800"}),
        ("catalogue.items.id", "name_id"),
        ("catalogue.interactions.item", "position"),
        ("catalogue.interactions.position", "rank"),
        ("catalogue.interactions.time", "item_id"),
        ("catalogue.interactions.rating", "user_id"),
        ("catalogue.users.id", "country"),
        ("catalogue.user_attributes", ["age"]),
        ("catalogue.attributes", ["title", "tags", "maker"]),
    ),
    "wrong file": put(
        ("catalogue.items.file", "nothing.csv"),
        ("catalogue.items.file", "/etc/hostname"),
        ("catalogue.items.file", "."),
        ("catalogue.items.file", "a\0b.csv"),
        ("catalogue.users.file", "x" * 300 + ".csv"),
        ("catalogue.users.file", "../scenario.yaml"),
        ("catalogue.data", "/no/such/folder"),
        ("catalogue.data", "~nobody-of-this-name/x"),
        ("catalogue.data", "x" * 300),
        ("catalogue.data", "package:nothing"),
        ("catalogue.data", ""),
    ),
    "unknown key": put(
        *(
            (f"{g}{k}", 1)
            for g in ("", "agent.", "catalogue.", "catalogue.items.")
            for k in ("gama", "Ägent ☂", "", "[/b]")
        ),
        ("x" * 5000, 1),
    ),
    "wrong type or out of range": put(*((key, value) for key in _KEYS for value in _WRONG)),
    "settings that contradict": put(
        ("agent.history", 3),
        ("agent.mask_recent", 30),
        ("agent.heads", 7),
        ("seeds", []),
        ("seeds", [1, 1]),
        ("catalogue.attributes", ["title", "tags", "title"]),
        ("catalogue.attributes", ["title", "item_id"]),
        ("catalogue.filters", {"session_gap": 1, "min_length": 99}),
        ("catalogue.filters", {"user_core": 10**9}),
        ("catalogue.filters", {"min_rating": 99.0, "user_core": 4}),
        ("scenario", "../fuzz"),
    ),
    "syntax error": line_inserted(
        "[", "a: b: c", "\tx: 1", "- x", "}", "'", '"', "%", "x", "? ", ": ", "&", "*x", "!", "|", "@"
    ),
    "no settings": replaced(
        "", "~", "- a\n- b\n", "3\n", "text", "[]", "{}", "2020-01-01", "---\n...\n", "null\n", "{a}", "# x\n"
    ),
    "tag or anchor": appended(
        "judge: !!python/object:os.system x\n",
        "judge: !!python/name:os.system\n",
        "judge: {enabled: !!bool maybe}\n",
        "judge: !!timestamp soon\n",
        "distil: !!binary é\n",
        "distil: !!int x\n",
        "distil: &a {sessions: *a}\n",
        "distil: &a\n  <<: *a\n",
        "distil: *b\n",
        "distil: !!set {a}\n",
        "distil: 2020-13-45\n",
        "distil: [0b_, 0x_]\n",
        "? [1]\n: 2\n",
        "<<: 3\n",
        "=: 3\n",
    ),
    "key twice": on_text(line_twice),
    "deeply nested": appended(
        "judge: " + "[" * 3000 + "]" * 3000 + "\n", "judge: " + "{a: " * 2000, "judge: " + "- " * 3000 + "a\n"
    ),
    "enormous": appended(
        "judge: " + "9" * 6000 + "\n",
        "judge: 0x" + "F" * 6000 + "\n",
        f"judge: '{'x' * 100_000}'\n",
        "x" * 900 + ": 1\n",
    ),
    "bomb": replaced(_BOMB),
    "two documents": appended("---\nscenario: other\n"),
    "text truncated": on_text(truncate),
    "text with bits flipped": on_text(flip),
    "text with bytes inserted": on_text(insert),
    "text with bytes cut out": on_text(cut_out),
    "text with NUL or no UTF-8": on_text(inserted(b"\0", b"\xff", b"\xed\xa0\x80", b"\x07")),
    "text in another encoding": on_text(other_encoding),
}
