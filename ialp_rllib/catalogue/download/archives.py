"""Archives from elsewhere: whether they are whole, and unpacking them within one folder."""

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

#: Called with what is done, bytes done, and bytes in all (None: not known).
Report = Callable[[str, int, int | None], None]

_CHUNK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, RuntimeError)


def check(path: Path, holds: tuple[str, ...], report: Report) -> None:
    """Read an archive (``.zip``, ``.gz``) to its end against its own checksums.

    Args:
        holds: files that a zip archive must hold.

    Raises:
        InputError: it is damaged, cut, something else, does not hold ``holds``, or would write outside its folder.
    """
    try:
        if path.suffix == ".zip":
            _check_zip(path, holds, report)
        elif path.suffix == ".gz":
            _check_gzip(path, report)
    except _BROKEN as error:
        kind = "zip" if path.suffix == ".zip" else "gzip"
        raise InputError(str(path), f"is no whole {kind} archive ({error}; {_looks_like(path)})") from error


def unpack(path: Path, folder: Path, report: Report) -> dict[str, int]:
    """Unpack a checked zip archive into ``folder``; the files' names there and their sizes.

    A folder that encloses everything in the archive is left out.

    Raises:
        InputError: there is not enough room; the archive would write outside ``folder``.
    """
    with zipfile.ZipFile(path) as archive:
        members = list(_members(archive))
        total, done = sum(info.file_size for _, info in members), 0
        need_space(folder, total, f"{path.name} unpacked")
        for name, info in members:
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):  # a symbolic link that was there before
                raise InputError(str(target), "leads outside the folder", "a folder without such a link")
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, _copier(archive, info))
            done += info.file_size
            report(f"unpack {path.name}", done, total)
    return {str(name): info.file_size for name, info in members}


def need_space(folder: Path, size: int, what: str) -> None:
    """Refuse what does not fit on the disk, before any of it is written.

    Raises:
        InputError: less than ``size`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            str(folder),
            f"{what} needs {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free",
            "free some space, or choose another folder with --out",
        )


def _check_zip(path: Path, holds: tuple[str, ...], report: Report) -> None:
    with zipfile.ZipFile(path) as archive:
        members = list(_members(archive))
        missing = set(holds) - {str(name) for name, _ in members}
        if missing:
            raise InputError(str(path), f"does not hold {', '.join(sorted(missing))}", "the publisher's archive")
        total, done = sum(info.file_size for _, info in members), 0
        for _, info in members:
            with archive.open(info) as file:
                while chunk := file.read(_CHUNK):
                    done += len(chunk)
                    report(f"test {path.name}", done, total)


def _check_gzip(path: Path, report: Report) -> None:
    total = path.stat().st_size
    with path.open("rb") as raw, gzip.open(raw) as file:
        while file.read(_CHUNK):
            report(f"test {path.name}", raw.tell(), total)


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """The files with their places below the folder that they are unpacked to."""
    infos = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]
    names = [_place(archive, info) for info in infos]
    enclosed = {name.parts[0] for name in names}
    strip = len(enclosed) == 1 and all(len(name.parts) > 1 for name in names)
    for name, info in zip(names, infos, strict=True):
        yield (PurePosixPath(*name.parts[1:]) if strip else name), info


def _place(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename)
    link = stat.S_ISLNK(info.external_attr >> 16)
    # `orig_filename` is as stored: on Windows zipfile turns its backslashes into slashes.
    if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or ":" in name.parts[0] or link:
        raise InputError(
            str(archive.filename),
            f"holds {info.orig_filename!r}, which would be written outside the folder",
            "an archive with plain relative paths; nothing was unpacked",
        )
    return name


def _copier(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[Path], None]:
    def write(temporary: Path) -> None:
        with archive.open(info) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)

    return write


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(24)
    return f"{path.stat().st_size:,} bytes, beginning with {begin!r}"
