"""Files as DuckDB can read them: decompressed and in UTF-8. What it cannot read itself is copied first."""

from __future__ import annotations

import bz2
import codecs
import itertools
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from ialp_rllib.catalogue.problems import clip, location
from ialp_rllib.catalogue.tables.duck import Connection, data_errors, scratch
from ialp_rllib.catalogue.tables.formats import NATIVE, compression_of
from ialp_rllib.errors import InputError, storage_errors

BOMS = {  # the longer ones first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PIECE = 1 << 20  # bytes that are read at a time
_HIDDEN = ("__MACOSX/", ".")
_copied = itertools.count()


def member_of(path: Path, member: str, setting: str) -> str:
    """The name of the file in a zip archive: the one in the settings, or else the only one.

    Args:
        setting: name of the setting ``member``, for messages.

    Raises:
        InputError: there is no such file, or there are several.
    """
    with data_errors(path, "zip"), _bad_zip(path), zipfile.ZipFile(path) as archive:
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
    names = [n for n in files if not n.startswith(_HIDDEN) and not PurePosixPath(n).name.startswith(".")]
    if member and member in files:
        return member
    if member or len(names) != 1:
        problem = f"holds no file {clip(member)!r}" if member else f"holds {len(names)} files"
        listed = clip(", ".join(names), 500) or "an archive with a data file"
        raise InputError(str(path), f"{problem}, and one of them is read", f"{setting}: one of {listed}")
    return names[0]


@contextmanager
def open_binary(path: Path, member: str = "") -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file.

    Args:
        member: name of the file in a zip archive.

    Raises:
        InputError: the compressed data are corrupt, encrypted or truncated, also while they are read.
    """
    compression = compression_of(path)
    with data_errors(path, compression or "a file"), _bad_zip(path):
        if compression == "zip":
            with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
                yield stream
        elif compression in ("bz2", "xz"):
            with (bz2.open if compression == "bz2" else lzma.open)(path, "rb") as stream:
                yield stream
        else:
            with pa.input_stream(str(path), compression or None) as stream:
                yield stream


@contextmanager
def _bad_zip(path: Path) -> Iterator[None]:
    """Errors of the decompressors, as :class:`InputError`."""
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        problem = f"the compressed data are corrupt or truncated: {clip(str(error))}"
        raise InputError(str(path), problem, "a file that its program can unpack") from error
    except (NotImplementedError, RuntimeError) as error:  # unknown method; encrypted
        problem = f"cannot be unpacked ({clip(str(error))})"
        raise InputError(str(path), problem, "an archive without password") from error


def encoding_of(path: Path, member: str = "") -> str:
    """The encoding that a byte order mark says; "" without one."""
    with open_binary(path, member) as stream:
        start = stream.read(4)
    return next((encoding for bom, encoding in BOMS.items() if start.startswith(bom)), "")


def check_encoding(encoding: str, setting: str) -> None:
    """Check that Python knows a text encoding.

    Raises:
        InputError: it does not.
    """
    try:
        known = not encoding or codecs.lookup(encoding)._is_text_encoding
    except (LookupError, ValueError):
        known = False
    if not known:
        raise InputError(setting, f"{clip(encoding)!r} is no known encoding", "such as utf-8, latin-1, cp1252, utf-16")


def plain_file(con: Connection, path: Path, member: str, encoding: str, json: bool) -> Path:
    """The file itself if DuckDB can read it, or else a decompressed copy in UTF-8 in the engine's working folder.

    Args:
        encoding: encoding of the text; empty: UTF-8, unless a byte order mark says otherwise; ``bytes``: no text.
        json: whether it is JSON, before which DuckDB does not accept the byte order mark of UTF-8.

    Raises:
        InputError: the compressed data are corrupt, or the text is not in this encoding; it names the row.
    """
    if encoding == "bytes":
        decoded = ""
    else:
        decoded = encoding or encoding_of(path, member)
        if codecs.lookup(decoded or "utf-8").name in ("utf-8", "utf-8-sig"):
            decoded = "utf-8-sig" if json and decoded else ""
    if not decoded and compression_of(path) in ("", *NATIVE):
        return path
    folder = scratch(con)
    copy = folder / f"plain{next(_copied)}"
    with open_binary(path, member) as stream, storage_errors(folder), copy.open("wb") as out:
        for piece in _decoded(stream, decoded, path) if decoded else iter(lambda: stream.read(_PIECE), b""):
            out.write(piece)
    return copy


def _decoded(stream: Any, encoding: str, path: Path) -> Iterator[bytes]:
    """Pieces of a text in UTF-8."""
    decoder, rows = codecs.getincrementaldecoder(encoding)("strict"), 0
    first = True
    while True:
        piece = stream.read(_PIECE)
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            row = rows + error.object[: error.start].decode(encoding, "replace").count("\n")
            expected = "the encoding of the file (setting `encoding`), or the bytes corrected"
            raise InputError(location(path, max(1, row)), f"the text is not {encoding}", expected) from error
        except (UnicodeError, ValueError) as error:  # as utf-16 without its mark
            raise InputError(str(path), f"the text is not {encoding} ({clip(str(error))})", "its encoding") from error
        if first:
            text, first = text.removeprefix("\ufeff"), False
        rows += text.count("\n")
        yield text.encode("utf-8", "replace")
        if not piece:
            return
