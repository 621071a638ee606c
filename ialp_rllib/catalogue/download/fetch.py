"""Fetching the files of a :class:`~.datasets.DataSet`, and checking those that were put there by hand.

``checksums.json`` beside the files holds the SHA-256 of each as it was when it first arrived whole. The publishers
state none, so the first download is trusted (unless the user gives a checksum) and every later run is held against it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from ialp_rllib.catalogue.download import archives
from ialp_rllib.catalogue.download.archives import Report
from ialp_rllib.catalogue.download.datasets import DataSet, RemoteFile
from ialp_rllib.catalogue.download.resume import Cut, Resuming, Unreachable
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.storage import write_json

CHECKSUMS = "checksums.json"
TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Options:
    """How to download.

    Attributes:
        url: take the files from here instead: a folder (ending with ``/``), or the file of a set of one file.
        sha256: file name -> the checksum that the user trusts; the name may be empty for a set of one file.
        remove_archive: delete a zip archive after it was unpacked.
        timeout: seconds without any byte after which a connection is given up.
    """

    url: str = ""
    sha256: Mapping[str, str] | None = None
    remove_archive: bool = False
    timeout: float = TIMEOUT


def download(data_set: DataSet, folder: Path, options: Options, report: Report) -> dict[str, str]:
    """Bring a data set into ``folder``: fetch what is not there, check everything, unpack zip archives.

    Returns:
        File name -> what was done with it, in words.

    Raises:
        InputError: a file cannot be fetched, is not what it should be, or cannot be written.
    """
    trusted = _trusted(data_set, options.sha256 or {})
    urls = {file.name: _urls(data_set, file, options.url) for file in data_set.files}
    with storage_errors(folder):
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if new:  # the data are not ours to pass on: no commit should take them along by accident
            (folder / ".gitignore").write_text("*\n")
    return {
        file.name: _bring(data_set, file, folder, urls[file.name], trusted.get(file.name), options, report)
        for file in data_set.files
    }


def _bring(
    data_set: DataSet,
    file: RemoteFile,
    folder: Path,
    urls: tuple[str, ...],
    trusted: str | None,
    options: Options,
    report: Report,
) -> str:
    path, known = folder / file.name, _known(folder).get(file.name, {})
    if not path.exists() and _unpacked(folder, known, trusted):
        return "its files are there, the archive was removed"
    if not path.exists() and file.holds and not known and all((folder / name).is_file() for name in file.holds):
        return "its files are there without the archive: taken as they are"
    said = "was there"
    if not path.exists():
        said = _fetch(data_set, file, path, urls, options.timeout, report)
    known = _verify(file, path, trusted, known, "by hand" if said == "was there" else said, report)
    if path.suffix == ".zip":
        if not _unpacked(folder, known, None):
            known = known | {"unpacked": archives.unpack(path, folder, report)}
            _remember(folder, file.name, known)
            said += ", unpacked"
        if options.remove_archive:
            path.unlink()
            said += ", archive removed"
    return said


def _fetch(
    data_set: DataSet, file: RemoteFile, path: Path, urls: tuple[str, ...], timeout: float, report: Report
) -> str:
    """Fetch from the first address that answers; which it was."""
    pooch.get_logger().setLevel(logging.WARNING)
    resuming, refused = Resuming(path, report, timeout), []
    for url in urls:
        try:
            pooch.retrieve(url, known_hash=None, path=path.parent, fname=path.name, downloader=resuming)
        except Unreachable as error:
            refused.append(f"{url}: {error}")
        except Cut as error:
            raise InputError(
                url, f"the connection broke: {error}", "run the same command again: it goes on from there"
            ) from error
        else:
            return f"downloaded from {url}"
    raise InputError(
        file.name,
        "cannot be downloaded\n  " + "\n  ".join(refused),
        f"a connection to that address; or get the file by hand ({data_set.page}), put it at {path} and run the same "
        "command again; or another address: --url",
    )


def _verify(
    file: RemoteFile, path: Path, trusted: str | None, known: dict[str, Any], source: str, report: Report
) -> dict[str, Any]:
    """Hold a file against its checksum, or test it and remember its checksum; what is known of it.

    Raises:
        InputError: it is not what it should be; it has been set aside as ``NAME.bad``.
    """
    found = _sha256(path, report)
    expected = trusted or file.sha256 or known.get("sha256")
    try:
        if expected and found != expected:
            raise InputError(str(path), f"has the SHA-256 {found}", _expected(path, expected, trusted, file))
        if found == known.get("sha256"):  # its contents were tested then
            return known
        archives.check(path, file.holds, report)
    except InputError as error:
        bad = path.with_name(f"{path.name}.bad")
        with storage_errors(bad):
            path.replace(bad)
        kept = f"the file is now {bad.name}; run the same command again, or put another there"
        raise InputError(error.where, error.problem, f"{error.expected}; {kept}" if error.expected else kept) from error
    known = {"sha256": found, "bytes": path.stat().st_size, "from": source.removeprefix("downloaded from ")}
    _remember(path.parent, path.name, known)
    return known


def _expected(path: Path, expected: str, trusted: str | None, file: RemoteFile) -> str:
    if trusted:
        return f"{expected} (--sha256)"
    if file.sha256:
        return f"{expected} (its publisher's)"
    return f"{expected} (of the first download, in {path.parent / CHECKSUMS}: delete its entry to accept another file)"


def _sha256(path: Path, report: Report) -> str:
    digest, total = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report(f"check {path.name}", file.tell(), total)
    return digest.hexdigest()


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text())
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all("sha256" in entry for entry in known.values()):
        raise InputError(str(path), "is damaged", "file names with their checksums; delete it to start anew")
    return known


def _remember(folder: Path, name: str, known: dict[str, Any]) -> None:
    write_json(folder / CHECKSUMS, _known(folder) | {name: known})


def _unpacked(folder: Path, known: dict[str, Any], trusted: str | None) -> bool:
    """Whether the files of an archive lie there with the sizes that they were unpacked with."""
    if not known.get("unpacked") or (trusted and trusted != known["sha256"]):
        return False
    sizes = known["unpacked"].items()
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes)


def _urls(data_set: DataSet, file: RemoteFile, override: str) -> tuple[str, ...]:
    if not override:
        return file.urls
    if override.endswith("/"):
        return (override + file.name,)
    if len(data_set.files) > 1:
        names = ", ".join(f.name for f in data_set.files)
        raise InputError(f"--url {override}", "is one file", f"the folder that holds {names}, ending with /")
    return (override,)


def _trusted(data_set: DataSet, given: Mapping[str, str]) -> dict[str, str]:
    names = [file.name for file in data_set.files]
    trusted = {}
    for name, checksum in given.items():
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            raise InputError(f"--sha256 {name}={checksum}", "names no file of this set", f"FILE=HEX, of {names}")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
            raise InputError(f"--sha256 {checksum}", "is no SHA-256", "64 hexadecimal digits")
        trusted[name] = checksum.lower()
    return trusted
