"""Formats of data files, by the extension of their names."""

from __future__ import annotations

from pathlib import Path

KINDS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".psv": "PSV",
    ".parquet": "Parquet",
    ".json": "JSON lines",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".inter": "RecBole",
    ".item": "RecBole",
    ".user": "RecBole",
}
TEXT = dict.fromkeys((".txt", ".dat", ".data"), "text")
"""Extensions of delimited text that says nothing of its separator; such files are read if a setting names them."""
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
NATIVE = ("gzip", "zstd")
"""Compressions that DuckDB reads itself; it gets a decompressed copy of the others."""
DELIMITERS = {"CSV": ",", "TSV": "\t", "RecBole": "\t", "PSV": "|"}
EXTENSIONS = f"{', '.join(KINDS)} (with a delimiter in the settings also {', '.join(TEXT)}), plain or with "
EXTENSIONS += ", ".join(COMPRESSED)


def kind_of(path: Path, text: bool = False) -> str:
    """The format of a file by its extension; ``zip`` for an archive whose name tells no format; or "" for no format.

    Args:
        text: whether delimited text of any extension counts, as kind ``text``.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1] if suffixes and suffixes[-1] in COMPRESSED else ""
    last = (suffixes[:-1] if packed else suffixes)[-1:]
    kind = {**KINDS, **(TEXT if text else {})}.get(last[0], "") if last else ""
    if kind == "Parquet" and packed and packed != ".zip":
        return ""
    return kind or ("zip" if packed == ".zip" else "")


def compression_of(path: Path) -> str:
    """The compression of a file by its extension; "" for none."""
    return COMPRESSED.get(path.suffix.lower(), "")


def is_json(kind: str) -> bool:
    return kind.startswith("JSON")
