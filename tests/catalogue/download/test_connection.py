"""Interrupted downloads resume; servers that fail are reported in one message."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ialp_rllib.catalogue.download import datasets
from ialp_rllib.errors import InputError
from tests.catalogue.download.archive import COAT, NOISE, fetch, zipped
from tests.catalogue.download.file_server import Files


def cut(files: Files, folder: Path, after: int) -> None:
    """A download that is interrupted after ``after`` bytes."""
    files.cut_after = after
    with pytest.raises(InputError, match=f"{after:,} of {len(files.contents['/coat.zip'][0]):,} bytes received"):
        fetch(files, folder)
    files.cut_after = None
    assert (folder / "coat.zip.part").stat().st_size == after
    assert not (folder / "coat.zip").exists()


def test_interrupted_download_resumes(server, tmp_path):
    body = server.contents["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    fetch(server, tmp_path)
    assert server.requests[-1] == ("/coat.zip", "bytes=100000-")
    assert server.sent == [(200, 100_000), (206, len(body) - 100_000)]
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_download_resumes_after_two_interruptions(server, tmp_path):
    body = server.contents["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    server.cut_after = 50_000
    with pytest.raises(InputError, match="150,000 of"):
        fetch(server, tmp_path)
    server.cut_after = None
    fetch(server, tmp_path)
    assert server.sent[-1] == (206, len(body) - 150_000)
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_download_resumes_after_a_killed_process(server, tmp_path):
    body = server.contents["/coat.zip"][0]
    server.cut_after, server.stall = 150_000, True
    code = (
        "from pathlib import Path; from ialp_rllib.catalogue.download import datasets, fetch as d; "
        f"d.download(datasets.COAT, Path({str(tmp_path)!r}), d.Options({server.url!r}), lambda *_: None)"
    )
    part = tmp_path / "coat.zip.part"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size >= 100_000):
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    received = part.stat().st_size  # bytes in the buffer of the process are lost
    server.cut_after, server.stall = None, False
    fetch(server, tmp_path)
    assert server.sent[-1] == (206, len(body) - received)
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_server_without_ranges_sends_the_whole_file_again(server, tmp_path):
    body = server.contents["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    server.ranges = False
    fetch(server, tmp_path)
    assert server.sent[-1] == (200, len(body))
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_changed_file_is_downloaded_from_the_start(server, tmp_path):
    cut(server, tmp_path, 100_000)
    body = zipped(COAT | {"coat/noise": NOISE[::-1]})
    server.contents["/coat.zip"] = (body, '"two"')
    fetch(server, tmp_path)
    assert server.sent[-1] == (200, len(body))
    assert (tmp_path / "coat.zip").read_bytes() == body
    assert (tmp_path / "noise").read_bytes() == NOISE[::-1]


def test_part_of_full_length_is_not_trusted(server, tmp_path):
    body = server.contents["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    (tmp_path / "coat.zip.part").write_bytes(bytes(len(body)))
    fetch(server, tmp_path)
    assert [request for _, request in server.requests[-2:]] == [f"bytes={len(body)}-", None]
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_part_without_validator_is_not_resumed(server, tmp_path):
    cut(server, tmp_path, 100_000)
    (tmp_path / "coat.zip.part.json").write_text('{"validator"')  # as after a kill while writing
    fetch(server, tmp_path)
    assert server.requests[-1] == ("/coat.zip", None)
    assert (tmp_path / "coat.zip").read_bytes() == server.contents["/coat.zip"][0]


def test_second_address_is_tried_after_the_first_fails(server, tmp_path):
    file = replace(datasets.COAT.files[0], urls=(f"{server.url}gone.zip", f"{server.url}coat.zip"))
    outcome = fetch(server, tmp_path, replace(datasets.COAT, files=(file,)), url="")
    assert outcome["coat.zip"].startswith(f"downloaded from {server.url}coat.zip")


def test_missing_file_on_the_server(server, tmp_path):
    server.status = 404
    check_refusal(server, tmp_path, f"{server.url}coat.zip: responded 404")


def test_web_page_instead_of_the_archive(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    check_refusal(server, tmp_path, "responded with a web page")


def test_server_that_never_responds(server, tmp_path):
    server.silent = True
    check_refusal(server, tmp_path, "timed out", timeout=0.3)


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening, so that the port stays free
        files = Files(url=f"http://127.0.0.1:{unused.getsockname()[1]}/")
        check_refusal(files, tmp_path, "Connection refused")


def check_refusal(files: Files, folder: Path, reason: str, **options: object) -> None:
    """The message names address, reason and the download by hand; no files are left behind."""
    with pytest.raises(InputError) as caught:
        fetch(files, folder, **options)
    message = str(caught.value)
    for part in (files.url, reason, "by hand", datasets.COAT.page, str(folder / "coat.zip"), "--url"):
        assert part in message
    assert list(folder.iterdir()) == []


def test_interrupted_connection_suggests_to_run_again(server, tmp_path):
    server.cut_after = 10
    with pytest.raises(InputError, match="run the same command again"):
        fetch(server, tmp_path)
