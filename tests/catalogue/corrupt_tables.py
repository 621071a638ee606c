"""Corruptions of the tables: cells, columns, bytes, files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.catalogue.valid_data import DataSet, Table

_JUNK = [
    "",
    "  ",
    None,
    "x",
    "naïve ☂",
    "'; DROP TABLE log; --",
    '"',
    'a"b',
    "a,b",
    "a\tb",
    "a\nb",
    "[/b]",
    "\\",
    "\0",
    "NULL",
]
_JUNK += ["nan", "inf", "-Infinity", "1e999", "1e39", "-5", "2.5", "9" * 25, "3_5", "0x1F", "2020-01-01", "2020-13-45"]
_JUNK += [True, {"a": 1}, ["a", None, 2], [], 2**70, -1, 1e300, float("nan"), "z" * 50_000, "=1+1", "i1 ", " u0", "1,5"]


# --- tables -----------------------------------------------------------------------------------------------------------


def some_table(d: DataSet, r: Random) -> Table:
    name = r.choice(list(d.tables))
    d.wrong.add(name)
    return d.tables[name]


def column(t: Table, r: Random) -> int:
    return r.randrange(len(t.names)) if t.names else 0


def log_cell(values: list[Any], columns: tuple[int, ...]) -> Callable[[DataSet, Random], None]:
    def corrupt(d: DataSet, r: Random) -> None:
        d.wrong.add("interactions")
        row = r.choice(d.tables["interactions"].rows or [[0] * 9])
        row[min(r.choice(columns), len(row) - 1)] = r.choice(values)

    return corrupt


def drop_column(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    n = column(t, r)
    if len(t.names) > 1:
        del t.names[n]
        for row in t.rows:
            del row[n]


def rename_column(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    n = column(t, r)
    old = t.names[n]
    t.names[n] = r.choice(
        [old.upper(), f" {old}", old[:-1], "", "x", 'a"b;--', "ü", old + "\0", "file_row_number", "row"]
    )


def duplicate_column(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    n = column(t, r)
    t.names.append(t.names[n])
    for row in t.rows:
        row.append(r.choice([row[n], "other"]))


def swap_names(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    a, b = column(t, r), column(t, r)
    t.names[a], t.names[b] = t.names[b], t.names[a]


def extra_column(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    t.names.insert(0, r.choice(["note", "Rating", "id", "c0", 'q"uo,te']))
    for row in t.rows:
        row.insert(0, r.choice(_JUNK[:12]))


def junk_cell(d: DataSet, r: Random) -> None:
    row = r.choice(some_table(d, r).rows or [[0]])
    row[r.randrange(len(row))] = r.choice(_JUNK)


def empty_required(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    r.choice(t.rows or [[0]])[0] = r.choice(["", None, "  "])


def id_twice(d: DataSet, r: Random) -> None:
    name = r.choice(["items", "users"])
    d.wrong.add(name)
    rows = d.tables[name].rows
    if len(rows) > 1:
        rows[0][0] = rows[-1][0]


def two_at_one_position(d: DataSet, r: Random) -> None:
    d.wrong.add("interactions")
    rows = [row for row in d.tables["interactions"].rows if len(row) > 2]
    if rows:
        a, b = r.choice(rows), r.choice(rows)
        a[0], a[2] = b[0], b[2]


def lose_or_repeat_rows(d: DataSet, r: Random) -> None:
    t = some_table(d, r)
    keep = r.choice([0, 1, len(t.rows) - 1])
    t.rows[:] = r.choice([t.rows[:keep], t.rows + t.rows[:1], t.rows[::-1]])


# --- bytes ------------------------------------------------------------------------------------------------------------


def at(data: bytes, r: Random) -> int:
    return r.randrange(len(data) + 1)


def truncate(data: bytes, r: Random) -> bytes:
    return data[: at(data, r)]


def flip(data: bytes, r: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(r.choice([1, 1, 1, 4])):
        if changed:
            changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def insert(data: bytes, r: Random) -> bytes:
    n = at(data, r)
    return data[:n] + r.randbytes(r.randint(1, 5)) + data[n:]


def cut_out(data: bytes, r: Random) -> bytes:
    n = at(data, r)
    return data[:n] + data[n + r.randint(1, 20) :]


def inserted(*what: bytes) -> Callable[[bytes, Random], bytes]:
    def change(data: bytes, r: Random) -> bytes:
        n = at(data, r)
        return data[:n] + r.choice(what) + data[n:]

    return change


def removed(*what: bytes) -> Callable[[bytes, Random], bytes]:
    """Remove one occurrence of one of ``what``."""

    def change(data: bytes, r: Random) -> bytes:
        offsets = [n for w in what for n in range(len(data)) if data[n : n + len(w)] == w]
        n = r.choice(offsets) if offsets else len(data)
        return data[:n] + data[n + 1 :]

    return change


def mixed_line_ends(data: bytes, r: Random) -> bytes:
    lines = data.split(b"\n")
    return b"".join(line + r.choice([b"\n", b"\r\n", b"\r"]) for line in lines[:-1]) + lines[-1]


def blank_lines(data: bytes, r: Random) -> bytes:
    return b"\n".join(r.choice([line, b"\n" + line, b" \n" + line]) for line in data.split(b"\n"))


def bad_line(data: bytes, r: Random) -> bytes:
    lines = data.split(b"\n")
    junk = [
        b"{",
        b"3",
        b"null",
        b"[1, 2]",
        b'{"item_id": "i1", "item_id": "i2"}',
        b"{}",
        b"i9",
        b'"',
        b"," * 9,
        b"\t" * 9,
    ]
    lines.insert(r.randrange(len(lines)), r.choice(junk))
    return b"\n".join(lines)


def other_shape(data: bytes, r: Random) -> bytes:
    lines = [line for line in data.split(b"\n") if line]
    array = b"[" + b",".join(lines) + b"]\n"
    return r.choice([array, b'{"rows": ' + array[:-1] + b"}\n", b" ".join(lines), b"\n".join([*lines, array])])


def other_encoding(data: bytes, r: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return r.choice([text.encode("utf-16"), text.encode("latin-1", "replace"), text.encode("utf-8-sig")])


def other_file(data: bytes, r: Random) -> bytes:
    gz = gzip.compress(data, mtime=0)
    return r.choice(
        [b"", gz, gz + gz, data + b"garbage", gz[: len(gz) // 2], b"PAR1" + data + b"PAR1", b"<html></html>"]
    )


def on_bytes(change: Callable[[bytes, Random], bytes], after: bool | None = None) -> Callable[[DataSet, Random], None]:
    """Change the bytes of a file ``after`` its compression (True), before it (False), or at random (None)."""

    def corrupt(d: DataSet, r: Random) -> None:
        name = r.choice(list(d.tables))
        d.wrong.add(name)

        def apply(data: bytes) -> bytes:
            return change(data, r)

        apply.after = r.random() < 0.5 if after is None else after  # type: ignore[attr-defined]
        d.data.setdefault(name, []).append(apply)

    return corrupt


# --- files ------------------------------------------------------------------------------------------------------------


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _second(path: Path) -> None:
    (path.parent / f"{path.name.split('.')[0]}.tsv").write_bytes(b"item_id\tuser_id\n")


def on_file(change: Callable[[Path], Any]) -> Callable[[DataSet, Random], None]:
    def corrupt(d: DataSet, r: Random) -> None:
        name = r.choice(list(d.tables))
        d.wrong.add(name)
        d.files[name] = [change]  # only the last change is kept: a second one might find no file

    return corrupt


TABLES: dict[str, Callable[[DataSet, Random], None]] = {
    "column dropped": drop_column,
    "column renamed": rename_column,
    "column twice": duplicate_column,
    "names of two columns swapped": swap_names,
    "column too many": extra_column,
    "junk in a cell": junk_cell,
    "required cell empty": empty_required,
    "unknown item": log_cell(["i99", "I1", "70", "7.0", "i1\n"], (1,)),
    "unknown user": log_cell(["u99", "U0", "u0 "], (0,)),
    "id twice": id_twice,
    "no finite number": log_cell([float("nan"), "inf", "-inf", "NaN", "1e999"], (3, 4)),
    "two rows at one position": two_at_one_position,
    "negative or huge number": log_cell([-1, -(2**62), 2**63, 2**64, 10**30, 1e39, -1e300, 1.6e12], (2, 3, 4)),
    "rows lost or repeated": lose_or_repeat_rows,
    "truncated": on_bytes(truncate),
    "gzip or Parquet truncated": on_bytes(truncate, after=True),
    "bits flipped": on_bytes(flip),
    "bytes inserted": on_bytes(insert),
    "bytes cut out": on_bytes(cut_out),
    "invalid UTF-8": on_bytes(inserted(b"\xff", b"\xc3", b"\xed\xa0\x80"), after=False),
    "NUL": on_bytes(inserted(b"\0"), after=False),
    "quote too many": on_bytes(inserted(b'"', b'""', b'" '), after=False),
    "quote too few": on_bytes(removed(b'"'), after=False),
    "separator too many": on_bytes(inserted(b",", b"\t", b"\n", b"\r"), after=False),
    "separator too few": on_bytes(removed(b",", b"\t", b"\n"), after=False),
    "line ends mixed": on_bytes(mixed_line_ends, after=False),
    "blank lines": on_bytes(blank_lines, after=False),
    "broken line": on_bytes(bad_line, after=False),
    "other shape": on_bytes(other_shape, after=False),
    "other encoding": on_bytes(other_encoding, after=False),
    "other file under this name": on_bytes(other_file),
    "empty file": on_bytes(lambda data, r: b"", after=True),
    "folder": on_file(_folder),
    "missing": on_file(Path.unlink),
    "dangling link": on_file(_link),
    "second file of the table": on_file(_second),
}
