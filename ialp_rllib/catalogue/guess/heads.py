"""The first bytes of a text file, decompressed and converted to UTF-8, so that DuckDB can read any text file."""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import charset_normalizer

from ialp_rllib.catalogue.problems import clip
from ialp_rllib.catalogue.tables.formats import COMPRESSED, compression_of
from ialp_rllib.catalogue.tables.plain import member_of, open_binary
from ialp_rllib.catalogue.tables.readers import check_exists
from ialp_rllib.errors import InputError

MAX_BYTES = 32 << 20
"""Decompressed bytes that are read of a text file."""
_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "Parquet",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "an SQLite database",
}
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LATIN = ("cp125", "latin", "iso8859", "mac", "hp_roman", "cp85", "cp4", "cp437")
_NOT_LATIN = ("cp1251", "cp1253", "cp1255", "cp1256")


@dataclass(frozen=True)
class Head:
    """The beginning of a text file, written to a temporary file.

    Attributes:
        path: the temporary file: UTF-8, not compressed, named like the original without ``.gz`` or ``.zst``.
        complete: whether it holds the whole file.
        encoding: encoding of the original; a guess unless it is ``utf-8``.
        example: first line with non-ASCII characters, decoded; empty for UTF-8.
        first_line: first line.
        invalid_lines: number of lines that are not valid UTF-8, in a file that is UTF-8 otherwise.
    """

    path: Path
    complete: bool
    encoding: str
    example: str
    first_line: str
    invalid_lines: int = 0


def read_head(path: Path, folder: Path) -> Head:
    """Write the beginning of a text file into ``folder``.

    Raises:
        InputError: the file is empty, binary, unreadable, or its compressed data are corrupt.
    """
    check_exists(path)
    raw, complete = _read(path)
    if not raw:
        raise InputError(str(path), "is empty (0 bytes)", "at least one row")
    for signature, content in _SIGNATURES.items():
        if raw.startswith(signature):
            raise InputError(str(path), f"contains {content}, unlike its file extension", "the extension of its format")
    encoding, invalid_lines = _detect_encoding(raw)
    text = raw.decode(encoding, errors="replace").removeprefix("\ufeff")
    if _is_binary(text):
        raise InputError(str(path), "is not a text file", "a table as text or Parquet")
    example = ""
    if encoding != "utf-8":
        example = clip(next((line for line in text.splitlines() if not line.isascii()), ""), 80)
    if not complete and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    name = path.name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSED else path.name
    head = folder / name
    head.write_text(text, "utf-8", newline="")
    return Head(head, complete, encoding, example, (text.splitlines() or [""])[0], invalid_lines)


def _read(path: Path) -> tuple[bytes, bool]:
    """First bytes after decompression, and whether they are the whole file."""
    pieces, size = [], 0
    member = member_of(path, "", "member of the table") if compression_of(path) == "zip" else ""
    with open_binary(path, member) as stream:
        while size <= MAX_BYTES and (piece := stream.read(1 << 20)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)[:MAX_BYTES], size <= MAX_BYTES


def _detect_encoding(raw: bytes) -> tuple[str, int]:
    """Encoding, and the number of invalid lines if most lines with non-ASCII characters are valid UTF-8."""
    for bom, encoding in _BOMS.items():
        if raw.startswith(bom):
            return encoding, 0
    start = raw[: 1 << 16]
    if start.count(b"\0") > len(start) // 5:  # ASCII characters in two bytes each
        return ("utf-16-le" if start[1::2].count(b"\0") > start[::2].count(b"\0") else "utf-16-be"), 0
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)  # incremental: the last character may be incomplete
        return "utf-8", 0
    except UnicodeDecodeError:
        lines = [line for line in raw.split(b"\n")[:-1] if not line.isascii()]
        invalid = [line for line in lines if not _is_utf8(line)]
    if 4 * len(invalid) < len(lines):
        return "utf-8", len(invalid)
    return _guess_encoding(b"\n".join(invalid[:2000]) or raw), 0


def _guess_encoding(text: bytes) -> str:
    """The most probable encoding of text that is not UTF-8."""
    best = charset_normalizer.from_bytes(text).best()
    guess = best.encoding if best else "cp1252"
    if guess.startswith(_LATIN) and guess not in _NOT_LATIN:
        try:
            text.decode("cp1252")
            return "cp1252"  # short texts do not distinguish the Latin code pages: the most frequent one
        except UnicodeDecodeError:
            return guess
    return guess


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_binary(text: str) -> bool:
    start = text[:10_000]
    control = sum(unicodedata.category(c) in ("Cc", "Cn", "Co") and c not in "\t\r\n\f\x01\x1f" for c in start)
    return control > len(start) / 50
