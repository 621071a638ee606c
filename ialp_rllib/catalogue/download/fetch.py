"""Downloads the files of a :class:`~.datasets.DataSet`, and verifies files that were placed in the folder by hand.

``checksums.json`` next to the files holds the SHA-256 of each file after its first complete download. The publishers
state no checksums, so the first download is trusted (unless the user gives one), and later runs are compared with it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pooch

from ialp_rllib.catalogue.download import archives
from ialp_rllib.catalogue.download.archives import ProgressCallback
from ialp_rllib.catalogue.download.datasets import DataSet, RemoteFile
from ialp_rllib.catalogue.download.resume import Interrupted, ResumingDownloader, Unreachable
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.storage import read_json, write_json

CHECKSUMS = "checksums.json"
TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Options:
    """Options of a download.

    Attributes:
        url: another address: of a folder (ending with ``/``), or of the file if the data set has only one.
        sha256: file name -> checksum that the user trusts; the name may be empty if the data set has only one file.
        remove_archive: delete zip archives after unpacking.
        timeout: seconds without any data after which a connection is closed.
    """

    url: str = ""
    sha256: Mapping[str, str] | None = None
    remove_archive: bool = False
    timeout: float = TIMEOUT


def download(data_set: DataSet, folder: Path, options: Options, report: ProgressCallback) -> dict[str, str]:
    """Download a data set into ``folder``: fetch missing files, verify all files, unpack zip archives.

    Args:
        report: receives the progress.

    Returns:
        File name -> outcome, as a message.

    Raises:
        InputError: a file cannot be downloaded, fails verification, or cannot be written.
    """
    trusted = _trusted(data_set, options.sha256 or {})
    urls = {file.name: _urls(data_set, file, options.url) for file in data_set.files}
    with storage_errors(folder):
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if new:  # the data may not be redistributed: keep them out of commits
            (folder / ".gitignore").write_text("*\n")
    return {
        file.name: _provide(data_set, file, folder, urls[file.name], trusted.get(file.name), options, report)
        for file in data_set.files
    }


def _provide(
    data_set: DataSet,
    file: RemoteFile,
    folder: Path,
    urls: tuple[str, ...],
    trusted: str | None,
    options: Options,
    report: ProgressCallback,
) -> str:
    """Fetch, verify and unpack one file, as far as necessary; returns the outcome as a message."""
    path, entry = folder / file.name, _read_checksums(folder).get(file.name, {})
    if not path.exists() and _is_unpacked(folder, entry, trusted):
        return "already unpacked, archive removed"
    if not path.exists() and file.holds and not entry and all((folder / name).is_file() for name in file.holds):
        return "already unpacked, no archive: files are used unverified"
    outcome, source = "already present", "by hand"
    if not path.exists():
        source = _fetch(data_set, file, path, urls, options.timeout, report)
        outcome = f"downloaded from {source}"
    entry = _verify(file, path, trusted, entry, source, report)
    if path.suffix == ".zip":
        if not _is_unpacked(folder, entry, None):
            entry = entry | {"unpacked": archives.unpack(path, folder, report)}
            _write_checksum(folder, file.name, entry)
            outcome += ", unpacked"
        if options.remove_archive:
            path.unlink()
            outcome += ", archive removed"
    return outcome


def _fetch(
    data_set: DataSet, file: RemoteFile, path: Path, urls: tuple[str, ...], timeout: float, report: ProgressCallback
) -> str:
    """Download from the first address that responds; returns this address."""
    pooch.get_logger().setLevel(logging.WARNING)
    downloader, failures = ResumingDownloader(path, report, timeout), []
    for url in urls:
        try:
            pooch.retrieve(url, known_hash=None, path=path.parent, fname=path.name, downloader=downloader)
        except Unreachable as error:
            failures.append(f"{url}: {error}")
        except Interrupted as error:
            problem, expected = f"the connection was interrupted: {error}", "run the same command again: it resumes"
            raise InputError(url, problem, expected) from error
        else:
            return url
    raise InputError(
        file.name,
        "cannot be downloaded\n  " + "\n  ".join(failures),
        f"a connection to this address; or download the file by hand ({data_set.page}), save it as {path} and run the "
        "same command again; or another address: --url",
    )


def _verify(
    file: RemoteFile, path: Path, trusted: str | None, entry: dict[str, Any], source: str, report: ProgressCallback
) -> dict[str, Any]:
    """Compare a file with its checksum; if it is new, check its contents and record its checksum.

    Args:
        trusted: checksum that the user gave.
        entry: entry of the file in ``checksums.json``; empty: none.
        source: origin of the file, for a new entry.

    Returns:
        The entry of the file.

    Raises:
        InputError: verification fails; the file has been renamed to ``NAME.bad``.
    """
    actual = _sha256(path, report)
    expected = trusted or file.sha256 or entry.get("sha256")
    try:
        if expected and actual != expected:
            raise InputError(str(path), f"has the SHA-256 {actual}", _expected(path, expected, trusted, file))
        if actual == entry.get("sha256"):  # its contents were checked before
            return entry
        archives.check(path, file.holds, report)
    except InputError as error:
        bad = path.with_name(f"{path.name}.bad")
        with storage_errors(bad):
            path.replace(bad)
        hint = f"the file is now {bad.name}; run the same command again, or provide another file"
        raise InputError(error.where, error.problem, f"{error.expected}; {hint}" if error.expected else hint) from error
    entry = {"sha256": actual, "bytes": path.stat().st_size, "from": source}
    _write_checksum(path.parent, path.name, entry)
    return entry


def _expected(path: Path, expected: str, trusted: str | None, file: RemoteFile) -> str:
    if trusted:
        return f"{expected} (--sha256)"
    if file.sha256:
        return f"{expected} (stated by the publisher)"
    return f"{expected} (of the first download, in {path.parent / CHECKSUMS}: delete its entry to accept another file)"


def _sha256(path: Path, report: ProgressCallback) -> str:
    digest, total = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report(f"check {path.name}", file.tell(), total)
    return digest.hexdigest()


def _read_checksums(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    expected = "file names with their checksums; delete it to start over"
    entries = read_json(path, expected=expected)
    known = isinstance(entries, dict) and all(isinstance(e, dict) and "sha256" in e for e in entries.values())
    if not known:
        raise InputError(str(path), "is damaged", expected)
    return cast(dict[str, dict[str, Any]], entries)


def _write_checksum(folder: Path, name: str, entry: dict[str, Any]) -> None:
    write_json(folder / CHECKSUMS, _read_checksums(folder) | {name: entry})


def _is_unpacked(folder: Path, entry: dict[str, Any], trusted: str | None) -> bool:
    """Whether all files of an archive exist with the sizes recorded at unpacking."""
    if not entry.get("unpacked") or (trusted and trusted != entry["sha256"]):
        return False
    sizes = entry["unpacked"].items()
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes)


def _urls(data_set: DataSet, file: RemoteFile, override: str) -> tuple[str, ...]:
    if not override:
        return file.urls
    if override.endswith("/"):
        return (override + file.name,)
    if len(data_set.files) > 1:
        names = ", ".join(f.name for f in data_set.files)
        raise InputError(f"--url {override}", "is one file", f"the folder of {names}, ending with /")
    return (override,)


def _trusted(data_set: DataSet, given: Mapping[str, str]) -> dict[str, str]:
    names = [file.name for file in data_set.files]
    trusted = {}
    for name, checksum in given.items():
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            raise InputError(
                f"--sha256 {name}={checksum}", "is not a file of this data set", f"FILE=HEX, with one of {names}"
            )
        if not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
            raise InputError(f"--sha256 {checksum}", "is not a SHA-256", "64 hexadecimal digits")
        trusted[name] = checksum.lower()
    return trusted
