"""Downloaded archives: integrity checks, and unpacking that cannot write outside its folder."""

from __future__ import annotations

import gzip
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.storage import write_atomic

#: Called with the operation, the number of bytes processed, and the total number of bytes (None: unknown).
ProgressCallback = Callable[[str, int, int | None], None]

_CHUNK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, RuntimeError)


def check(path: Path, holds: tuple[str, ...], report: ProgressCallback) -> None:
    """Check an archive (``.zip``, ``.gz``) against the checksums that it contains; other files are not checked.

    Args:
        holds: files that a zip archive must contain.
        report: receives the progress.

    Raises:
        InputError: it is damaged, truncated or no archive, lacks a file of ``holds``, or has a member that would be
            written outside its folder.
    """
    try:
        if path.suffix == ".zip":
            _check_zip(path, holds, report)
        elif path.suffix == ".gz":
            _check_gzip(path, report)
    except _BROKEN as error:
        kind = "zip" if path.suffix == ".zip" else "gzip"
        raise InputError(str(path), f"is not a complete {kind} archive ({error}; {_first_bytes(path)})") from error


def unpack(path: Path, folder: Path, report: ProgressCallback) -> dict[str, int]:
    """Unpack a checked zip archive into ``folder``, without the top-level folder if all files are in one.

    Returns:
        File name below ``folder`` -> size in bytes.

    Raises:
        InputError: there is not enough disk space, or a file would be written outside ``folder``.
    """
    with zipfile.ZipFile(path) as archive:
        members = list(_members(archive))
        total, done = sum(info.file_size for _, info in members), 0
        need_space(folder, total, f"{path.name} unpacked")
        for name, info in members:
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):  # through a symbolic link in the folder
                raise InputError(str(target), "resolves to a path outside the folder", "a folder without such a link")
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, _copier(archive, info))
            done += info.file_size
            report(f"unpack {path.name}", done, total)
    return {str(name): info.file_size for name, info in members}


def need_space(folder: Path, size: int, what: str) -> None:
    """Check the free disk space, before anything is written.

    Args:
        size: required number of bytes.
        what: what needs them, for the message.

    Raises:
        InputError: fewer than ``size`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            str(folder),
            f"{what} needs {size / 1e6:,.1f} MB of disk space, {free / 1e6:,.1f} MB are free",
            "free some space, or choose another folder with --out",
        )


def _check_zip(path: Path, holds: tuple[str, ...], report: ProgressCallback) -> None:
    with zipfile.ZipFile(path) as archive:
        members = list(_members(archive))
        missing = set(holds) - {str(name) for name, _ in members}
        if missing:
            raise InputError(str(path), f"does not contain {', '.join(sorted(missing))}", "the publisher's archive")
        total, done = sum(info.file_size for _, info in members), 0
        for _, info in members:
            with archive.open(info) as file:
                while chunk := file.read(_CHUNK):
                    done += len(chunk)
                    report(f"test {path.name}", done, total)


def _check_gzip(path: Path, report: ProgressCallback) -> None:
    total = path.stat().st_size
    with path.open("rb") as raw, gzip.open(raw) as file:
        while file.read(_CHUNK):
            report(f"test {path.name}", raw.tell(), total)


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """The files of an archive, each with its path below the folder into which it is unpacked."""
    infos = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]
    names = [_safe_path(archive, info) for info in infos]
    top_level = {name.parts[0] for name in names}
    strip = len(top_level) == 1 and all(len(name.parts) > 1 for name in names)
    for name, info in zip(names, infos, strict=True):
        yield (PurePosixPath(*name.parts[1:]) if strip else name), info


def _safe_path(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename)
    link = stat.S_ISLNK(info.external_attr >> 16)
    # `orig_filename` is the stored name: on Windows zipfile replaces its backslashes.
    if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or ":" in name.parts[0] or link:
        raise InputError(
            str(archive.filename),
            f"contains {info.orig_filename!r}, which would be written outside the folder",
            "an archive with relative paths and without links; nothing was unpacked",
        )
    return name


def _copier(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[Path], None]:
    def write(temporary: Path) -> None:
        with archive.open(info) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)

    return write


def _first_bytes(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(24)
    return f"{path.stat().st_size:,} bytes, starting with {start!r}"
