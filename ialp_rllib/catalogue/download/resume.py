"""Downloading one file over HTTP so that a cut connection costs only what was not yet there.

``NAME.part`` holds what has arrived, ``NAME.part.json`` the validator (ETag or Last-Modified) of the file that it is a
part of. The next attempt asks for the rest with ``Range`` and ``If-Range`` (RFC 9110, 13.1.5 and 14.2); a server that
does not know ranges, or whose file is another by now, sends the whole, and the part is overwritten.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import requests
import urllib3

from ialp_rllib.catalogue.download.archives import Report, need_space
from ialp_rllib.errors import storage_errors
from ialp_rllib.storage import write_json

_CHUNK = 1 << 16


class Unreachable(Exception):
    """Nothing arrived from an address; another may do."""


class Cut(Exception):
    """The connection broke after something had arrived; the part is kept."""


class Resuming:
    """A downloader for :func:`pooch.retrieve`.

    Args:
        target: the file; the part lies beside it.
        report: is told of the progress.
        timeout: seconds without any byte after which the connection is given up.
    """

    def __init__(self, target: Path, report: Report, timeout: float) -> None:
        self._target, self._report, self._timeout = target, report, timeout
        self.part = target.with_name(f"{target.name}.part")
        self._state = target.with_name(f"{target.name}.part.json")

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Fetch ``url`` into ``output_file``.

        Raises:
            Unreachable: no answer, a refusal, or a web page instead of the file.
            Cut: the connection broke; the part is kept.
            InputError: no room, or no permission to write.
        """
        try:
            with storage_errors(self.part):
                self._fetch(url)
                self.part.replace(output_file)
                self._state.unlink(missing_ok=True)
        except requests.RequestException as error:
            raise Unreachable(_reason(error)) from error

    def _fetch(self, url: str) -> None:
        begin, validator = self._standing()
        response = self._ask(url, begin, validator)
        if response.status_code == 416:  # the part is no beginning of what lies there now
            response.close()
            begin, response = 0, self._ask(url, 0, "")
        with response:
            if response.status_code not in (200, 206):
                raise Unreachable(f"answers {response.status_code} {response.reason}")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise Unreachable("answers with a web page, not with the file")
            begin, total = _extent(response, begin)
            validator = _validator(response)
            need_space(self.part.parent, (total or begin) - begin, self._target.name)
            if not begin:  # before its validator is written: else a kill could leave old bytes under a new one
                self.part.unlink(missing_ok=True)
            write_json(self._state, {"url": url, "validator": validator})
            done = self._stream(response, begin, total)
        if total is not None and done != total:
            raise Cut(f"{done:,} of {total:,} bytes arrived")

    def _ask(self, url: str, begin: int, validator: str) -> requests.Response:
        # Without `identity` some servers pack a .gz once more, and lengths and ranges count the packed bytes.
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
            raise Cut(f"{amount} bytes arrived") from error
        return done

    def _standing(self) -> tuple[int, str]:
        """Size of the part and the validator of its file; without a validator it cannot be continued."""
        try:
            validator = str(json.loads(self._state.read_text())["validator"])
            size = self.part.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):  # no part, or a kill while the state was written
            return 0, ""
        return (size, validator) if validator else (0, "")


def _extent(response: requests.Response, begin: int) -> tuple[int, int | None]:
    """Where the answer's first byte belongs, and the size of the whole file (None: not said)."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 200:
        return 0, int(length) if length.isdigit() else None
    said = response.headers.get("Content-Range", "")
    extent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said)
    if not extent or int(extent[1]) != begin:
        raise Unreachable(f"was asked for the bytes from {begin:,} on and sent {said or 'others'}")
    return begin, int(extent[2]) + 1 if extent[3] == "*" else int(extent[3])


def _validator(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):  # a weak one says nothing of single bytes
        return etag
    return response.headers.get("Last-Modified", "")


def _reason(error: Exception) -> str:
    """The innermost cause in plain words: the libraries wrap it three times."""
    inner: BaseException = error
    while True:
        following = getattr(inner, "reason", None) or inner.__cause__ or (inner.args[0] if inner.args else None)
        if not isinstance(following, BaseException):
            break
        inner = following
    text = re.sub(r"^.*?(Failed to resolve|Connection refused|timed out)", r"\1", str(inner))
    return text or type(inner).__name__
