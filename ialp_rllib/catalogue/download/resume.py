"""Resumable download of a file over HTTP.

``NAME.part`` holds the bytes received so far, ``NAME.part.json`` the validator (ETag or Last-Modified) of the file. The
next attempt requests the rest with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14.2). A server that does
not support ranges, or whose file has changed, sends the whole file, which replaces the part.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import requests
import urllib3

from ialp_rllib.catalogue.download.archives import ProgressCallback, need_space
from ialp_rllib.errors import storage_errors
from ialp_rllib.storage import write_json

_CHUNK = 1 << 16


class Unreachable(Exception):
    """No data were received from an address; another address may work."""


class Interrupted(Exception):
    """The connection was interrupted during the transfer; the part is kept."""


class ResumingDownloader:
    """A downloader for :func:`pooch.retrieve`.

    Args:
        target: path of the file; the part is next to it.
        report: receives the progress.
        timeout: seconds without any data after which the connection is closed.
    """

    def __init__(self, target: Path, report: ProgressCallback, timeout: float) -> None:
        self._target, self._report, self._timeout = target, report, timeout
        self.part = target.with_name(f"{target.name}.part")
        self._state = target.with_name(f"{target.name}.part.json")

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Fetch ``url`` into ``output_file``.

        Raises:
            Unreachable: no response, an error status, or a web page instead of the file.
            Interrupted: the connection was interrupted; the part is kept.
            InputError: not enough disk space, or no permission to write.
        """
        try:
            with storage_errors(self.part):
                self._fetch(url)
                self.part.replace(output_file)
                self._state.unlink(missing_ok=True)
        except requests.RequestException as error:
            raise Unreachable(_reason(error)) from error

    def _fetch(self, url: str) -> None:
        begin, validator = self._resume_point()
        response = self._request(url, begin, validator)
        if response.status_code == 416:  # range not satisfiable: the part does not belong to the current file
            response.close()
            begin, response = 0, self._request(url, 0, "")
        with response:
            if response.status_code not in (200, 206):
                raise Unreachable(f"responded {response.status_code} {response.reason}")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise Unreachable("responded with a web page instead of the file")
            begin, total = _extent(response, begin)
            validator = _validator(response)
            need_space(self.part.parent, (total or begin) - begin, self._target.name)
            if not begin:  # before the new validator is written: a kill in between must not pair it with old bytes
                self.part.unlink(missing_ok=True)
            write_json(self._state, {"url": url, "validator": validator})
            done = self._stream(response, begin, total)
        if total is not None and done != total:
            raise Interrupted(f"{done:,} of {total:,} bytes received")

    def _request(self, url: str, begin: int, validator: str) -> requests.Response:
        # Without `identity` some servers compress a .gz again, and lengths and ranges refer to the compressed bytes.
        headers = {"Accept-Encoding": "identity"}
        if begin:
            headers |= {"Range": f"bytes={begin}-", "If-Range": validator}
        return requests.get(url, headers=headers, stream=True, timeout=self._timeout)

    def _stream(self, response: requests.Response, begin: int, total: int | None) -> int:
        done = begin
        try:
            with self.part.open("ab") as file:
                self._report(f"download {self._target.name}", done, total)
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    file.write(chunk)
                    done += len(chunk)
                    self._report(f"download {self._target.name}", done, total)
        except urllib3.exceptions.HTTPError as error:
            amount = f"{done:,} of {total:,}" if total is not None else f"{done:,}"
            raise Interrupted(f"{amount} bytes received") from error
        return done

    def _resume_point(self) -> tuple[int, str]:
        """Size of the part in bytes, and the validator of its file; (0, "") if there is no part with a validator."""
        try:
            validator = str(json.loads(self._state.read_text())["validator"])
            size = self.part.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):  # no part, or a kill while the state was written
            return 0, ""
        return (size, validator) if validator else (0, "")


def _extent(response: requests.Response, begin: int) -> tuple[int, int | None]:
    """Offset of the response in the file, and the size of the file in bytes (None: unknown).

    Raises:
        Unreachable: the response is another range than requested.
    """
    length = response.headers.get("Content-Length", "")
    if response.status_code == 200:
        return 0, int(length) if length.isdigit() else None
    header = response.headers.get("Content-Range", "")
    extent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", header)
    if not extent or int(extent[1]) != begin:
        raise Unreachable(f"responded with {header or 'no range'} to a request for the bytes from {begin:,}")
    return begin, int(extent[2]) + 1 if extent[3] == "*" else int(extent[3])


def _validator(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):  # a weak ETag does not identify the exact bytes
        return etag
    return response.headers.get("Last-Modified", "")


def _reason(error: Exception) -> str:
    """Message of the innermost cause, which requests and urllib3 wrap several times."""
    inner: BaseException = error
    while True:
        cause = getattr(inner, "reason", None) or inner.__cause__ or (inner.args[0] if inner.args else None)
        if not isinstance(cause, BaseException):
            break
        inner = cause
    text = re.sub(r"^.*?(Failed to resolve|Connection refused|timed out)", r"\1", str(inner))
    return text or type(inner).__name__
