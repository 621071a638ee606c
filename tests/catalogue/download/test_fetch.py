"""Downloads from a real server on the loopback: resumed, verified, unpacked; and what was got by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue.download import datasets
from ialp_rllib.catalogue.download.datasets import DataSet, data_set
from ialp_rllib.catalogue.download.fetch import CHECKSUMS, Options, download
from ialp_rllib.errors import InputError
from tests.catalogue.download.file_server import Files, serve

NOISE = np.random.default_rng(0).bytes(300_000)  # does not pack: the archive is as large
COAT = {f"coat/{name}": NOISE[:1000] for name in datasets.COAT.files[0].holds} | {"coat/noise": NOISE}


@pytest.fixture
def server() -> Iterator[Files]:
    with serve() as files:
        files.held["/coat.zip"] = (zipped(COAT), '"one"')
        yield files


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in members.items():
            archive.writestr(zipfile.ZipInfo(name), contents)
    return buffer.getvalue()


def bring(files: Files, folder: Path, chosen: DataSet = datasets.COAT, **options: object) -> dict[str, str]:
    given = {"url": files.url, "timeout": 5.0} | options
    return download(chosen, folder, Options(**given), lambda *_: None)


def sha(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def cut(files: Files, folder: Path, after: int) -> None:
    """A download that breaks after so many bytes."""
    files.cut_after = after
    with pytest.raises(InputError, match=f"{after:,} of {len(files.held['/coat.zip'][0]):,} bytes arrived"):
        bring(files, folder)
    files.cut_after = None
    assert (folder / "coat.zip.part").stat().st_size == after
    assert not (folder / "coat.zip").exists()


def test_the_whole_file_is_fetched_unpacked_and_remembered(server, tmp_path):
    said = bring(server, tmp_path / "new" / "coat")
    folder = tmp_path / "new" / "coat"
    body = server.held["/coat.zip"][0]
    assert said == {"coat.zip": f"downloaded from {server.url}coat.zip, unpacked"}
    assert (folder / "coat.zip").read_bytes() == body
    assert (folder / "noise").read_bytes() == NOISE  # without the enclosing coat/
    assert (folder / "user_item_features" / "item_features.ascii").read_bytes() == NOISE[:1000]
    entry = json.loads((folder / CHECKSUMS).read_text())["coat.zip"]
    assert (entry["sha256"], entry["bytes"], entry["from"]) == (sha(body), len(body), f"{server.url}coat.zip")
    assert (folder / ".gitignore").read_text() == "*\n"
    assert not list(folder.glob("*.part*")) and not list(folder.glob("tmp*"))


def test_a_second_run_fetches_nothing(server, tmp_path):
    bring(server, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    asked = len(server.asked)
    assert bring(server, tmp_path) == {"coat.zip": "was there"}
    assert len(server.asked) == asked
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_was_there_keeps_its_own_rules_for_git(server, tmp_path):
    bring(server, tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_after_a_cut_only_the_rest_is_fetched(server, tmp_path):
    body = server.held["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    bring(server, tmp_path)
    assert server.asked[-1] == ("/coat.zip", "bytes=100000-")
    assert server.sent == [(200, 100_000), (206, len(body) - 100_000)]
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_a_download_survives_two_cuts(server, tmp_path):
    body = server.held["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    server.cut_after = 50_000
    with pytest.raises(InputError, match="150,000 of"):
        bring(server, tmp_path)
    server.cut_after = None
    bring(server, tmp_path)
    assert server.sent[-1] == (206, len(body) - 150_000)
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_a_killed_process_costs_only_what_was_not_there(server, tmp_path):
    body = server.held["/coat.zip"][0]
    server.cut_after, server.stall = 150_000, True
    code = (
        "from pathlib import Path; from ialp_rllib.catalogue import datasets, download as d; "
        f"d.download(datasets.COAT, Path({str(tmp_path)!r}), d.Options({server.url!r}), lambda *_: None)"
    )
    part = tmp_path / "coat.zip.part"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size >= 100_000):
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    arrived = part.stat().st_size  # what the process still held in memory is lost
    server.cut_after, server.stall = None, False
    bring(server, tmp_path)
    assert server.sent[-1] == (206, len(body) - arrived)
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    body = server.held["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    server.ranges = False
    bring(server, tmp_path)
    assert server.sent[-1] == (200, len(body))
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_a_file_that_changed_in_between_is_fetched_anew(server, tmp_path):
    cut(server, tmp_path, 100_000)
    body = zipped(COAT | {"coat/noise": NOISE[::-1]})
    server.held["/coat.zip"] = (body, '"two"')
    bring(server, tmp_path)
    assert server.sent[-1] == (200, len(body))
    assert (tmp_path / "coat.zip").read_bytes() == body
    assert (tmp_path / "noise").read_bytes() == NOISE[::-1]


def test_a_part_as_long_as_the_file_is_not_trusted(server, tmp_path):
    body = server.held["/coat.zip"][0]
    cut(server, tmp_path, 100_000)
    (tmp_path / "coat.zip.part").write_bytes(bytes(len(body)))
    bring(server, tmp_path)
    assert [request for _, request in server.asked[-2:]] == [f"bytes={len(body)}-", None]
    assert (tmp_path / "coat.zip").read_bytes() == body


def test_a_part_without_its_validator_is_not_continued(server, tmp_path):
    cut(server, tmp_path, 100_000)
    (tmp_path / "coat.zip.part.json").write_text('{"validator"')  # a kill in the middle of writing
    bring(server, tmp_path)
    assert server.asked[-1] == ("/coat.zip", None)
    assert (tmp_path / "coat.zip").read_bytes() == server.held["/coat.zip"][0]


def test_a_checksum_of_the_user_that_does_not_fit(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(InputError) as caught:
        bring(server, tmp_path, sha256={"": wrong})
    assert wrong in str(caught.value) and sha(server.held["/coat.zip"][0]) in str(caught.value)
    assert (tmp_path / "coat.zip.bad").read_bytes() == server.held["/coat.zip"][0]
    assert not (tmp_path / "coat.zip").exists() and not (tmp_path / CHECKSUMS).exists()


def test_a_checksum_of_the_user_that_fits(server, tmp_path):
    right = sha(server.held["/coat.zip"][0])
    assert "unpacked" in bring(server, tmp_path, sha256={"coat.zip": right.upper()})["coat.zip"]


def test_a_file_that_is_not_that_of_the_first_download(server, tmp_path):
    bring(server, tmp_path)
    first = sha((tmp_path / "coat.zip").read_bytes())
    other = zipped(COAT | {"coat/noise": NOISE[::-1]})
    (tmp_path / "coat.zip").write_bytes(other)
    with pytest.raises(InputError) as caught:
        bring(server, tmp_path)
    assert first in str(caught.value) and sha(other) in str(caught.value) and CHECKSUMS in str(caught.value)
    assert (tmp_path / "coat.zip.bad").read_bytes() == other
    assert (tmp_path / "noise").read_bytes() == NOISE  # that of the first
    (tmp_path / "noise").unlink()
    bring(server, tmp_path)
    assert sha((tmp_path / "coat.zip").read_bytes()) == first


def test_a_checksum_of_the_publisher_that_does_not_fit(server, tmp_path):
    file = replace(datasets.COAT.files[0], sha256="1" * 64)
    with pytest.raises(InputError, match=r"1{64} \(its publisher's\)"):
        bring(server, tmp_path, replace(datasets.COAT, files=(file,)))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda body: body[:150_000] + b"damage" + body[150_006:], id="bytes changed"),
        pytest.param(lambda body: body[:-1000], id="cut"),
        pytest.param(lambda body: b"<!DOCTYPE html> log in first", id="web page"),
        pytest.param(lambda body: b"", id="empty"),
    ],
)
def test_a_damaged_zip_archive_is_set_aside(server, tmp_path, damage):
    body = damage(server.held["/coat.zip"][0])
    server.held["/coat.zip"] = (body, '"bad"')
    with pytest.raises(InputError, match="is no whole zip archive"):
        bring(server, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coat.zip.bad"]
    assert (tmp_path / "coat.zip.bad").read_bytes() == body


def test_another_archive_under_this_name(server, tmp_path):
    server.held["/coat.zip"] = (zipped({"train.ascii": b"0"}), '"other"')
    with pytest.raises(InputError, match=r"does not hold test\.ascii, user_item"):
        bring(server, tmp_path)


@pytest.mark.parametrize("name", ["../escaped", "coat/../../escaped", "/escaped", "C:/escaped", "..\\escaped"])
def test_an_archive_that_would_write_outside_its_folder(server, tmp_path, name):
    server.held["/coat.zip"] = (zipped(COAT | {name: b"x"}), '"evil"')
    folder = tmp_path / "in" / "coat"
    with pytest.raises(InputError, match="written outside the folder"):
        bring(server, folder)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".gitignore", "coat.zip.bad"]


def test_an_archive_with_a_symbolic_link(server, tmp_path):
    buffer = io.BytesIO(server.held["/coat.zip"][0])
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("coat/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    server.held["/coat.zip"] = (buffer.getvalue(), '"link"')
    with pytest.raises(InputError, match="written outside the folder"):
        bring(server, tmp_path)


def test_a_link_in_the_folder_leads_nothing_outside(server, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "coat"
    outside.mkdir()
    folder.mkdir()
    (folder / "user_item_features").symlink_to(outside)
    with pytest.raises(InputError, match="leads outside the folder"):
        bring(server, folder)
    assert not list(outside.iterdir())


def test_a_file_got_by_hand_is_checked_and_taken(server, tmp_path):
    (tmp_path / "coat.zip").write_bytes(server.held["/coat.zip"][0])
    assert bring(server, tmp_path) == {"coat.zip": "was there, unpacked"}
    assert server.asked == []
    assert json.loads((tmp_path / CHECKSUMS).read_text())["coat.zip"]["from"] == "by hand"
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_a_damaged_file_got_by_hand_is_set_aside_and_then_fetched(server, tmp_path):
    (tmp_path / "coat.zip").write_bytes(server.held["/coat.zip"][0][:-10])
    with pytest.raises(InputError, match="is no whole zip archive"):
        bring(server, tmp_path)
    assert server.asked == []
    assert "downloaded" in bring(server, tmp_path)["coat.zip"]


def test_files_unpacked_by_hand_are_left_alone(server, tmp_path):
    for name in datasets.COAT.files[0].holds:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    assert "taken as they are" in bring(server, tmp_path)["coat.zip"]
    assert server.asked == []
    assert (tmp_path / "train.ascii").read_bytes() == b"mine"


def test_the_archive_can_be_removed(server, tmp_path):
    assert "archive removed" in bring(server, tmp_path, remove_archive=True)["coat.zip"]
    assert not (tmp_path / "coat.zip").exists()
    assert bring(server, tmp_path) == {"coat.zip": "its files are there, the archive was removed"}
    assert len(server.asked) == 1
    (tmp_path / "noise").unlink()  # now something is missing
    bring(server, tmp_path)
    assert len(server.asked) == 2
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_a_lost_file_comes_from_the_archive(server, tmp_path):
    bring(server, tmp_path)
    (tmp_path / "noise").unlink()
    assert bring(server, tmp_path) == {"coat.zip": "was there, unpacked"}
    assert len(server.asked) == 1
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_two_gzip_files_and_a_damaged_one(server, tmp_path):
    chosen = data_set("amazon-industrial")
    reviews, products = (file.name for file in chosen.files)
    good = gzip.compress(NOISE, mtime=0)
    server.held |= {f"/{reviews}": (good, '"r"'), f"/{products}": (good[:-8] + b"\0" * 4 + good[-4:], '"p"')}
    with pytest.raises(InputError, match=r"is no whole gzip archive .*CRC"):
        bring(server, tmp_path, chosen)
    server.held[f"/{products}"] = (good, '"q"')
    said = bring(server, tmp_path, chosen)
    assert said == {reviews: "was there", products: f"downloaded from {server.url}{products}"}
    assert [path for path, _ in server.asked] == [f"/{reviews}", f"/{products}", f"/{products}"]
    assert (tmp_path / reviews).read_bytes() == good


def test_the_next_address_is_tried_where_the_first_does_not_answer(server, tmp_path):
    file = replace(datasets.COAT.files[0], urls=(f"{server.url}gone.zip", f"{server.url}coat.zip"))
    said = bring(server, tmp_path, replace(datasets.COAT, files=(file,)), url="")
    assert said["coat.zip"].startswith(f"downloaded from {server.url}coat.zip")


def test_no_such_file_there(server, tmp_path):
    server.status = 404
    check_refusal(server, tmp_path, f"{server.url}coat.zip: answers 404")


def test_a_web_page_is_no_archive(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    check_refusal(server, tmp_path, "answers with a web page")


def test_a_server_that_never_answers(server, tmp_path):
    server.silent = True
    check_refusal(server, tmp_path, "timed out", timeout=0.3)


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        files = Files(url=f"http://127.0.0.1:{unused.getsockname()[1]}/")
        check_refusal(files, tmp_path, "Connection refused")


def check_refusal(files: Files, folder: Path, reason: str, **options: object) -> None:
    """One message with the address, the reason, and the way by hand; nothing is left behind."""
    with pytest.raises(InputError) as caught:
        bring(files, folder, **options)
    said = str(caught.value)
    for part in (files.url, reason, "by hand", datasets.COAT.page, str(folder / "coat.zip"), "--url"):
        assert part in said
    assert list(folder.iterdir()) == []


def test_a_cut_connection_says_to_go_on(server, tmp_path):
    server.cut_after = 10
    with pytest.raises(InputError, match="run the same command again"):
        bring(server, tmp_path)


def test_a_place_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file stands where a folder should be"):
        bring(server, tmp_path / "file")


def test_a_damaged_list_of_checksums(server, tmp_path):
    (tmp_path / CHECKSUMS).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        bring(server, tmp_path)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sha256": {"": "12"}}, "is no SHA-256"),
        ({"sha256": {"cloth.zip": "0" * 64}}, "names no file of this set"),
    ],
)
def test_checksums_that_cannot_be_meant(server, tmp_path, given, problem):
    with pytest.raises(InputError, match=problem):
        bring(server, tmp_path, **given)


def test_two_files_need_a_folder_as_address(server, tmp_path):
    with pytest.raises(InputError, match="is one file"):
        bring(server, tmp_path, data_set("amazon-industrial"), url=f"{server.url}file.gz")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("coat", "coat"),
        ("LFM-1b", "lfm-1b"),
        ("amazon-industrial", "amazon-industrial"),
        ("amazon-Industrial_and_Scientific", "amazon-industrial"),
        ("amazon-video", "amazon-video-games"),
        ("amazon-books", "amazon-books"),
    ],
)
def test_names(name, found):
    assert data_set(name).name == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("amazon-c", "3 categories begin so.*amazon-cds-and-vinyl"),
        ("amazon-ofice-products", "no such category.*amazon-office-products"),
        ("amazon-", "no such category"),
        ("netflix", "coat, lfm-1b, amazon-industrial"),
    ],
)
def test_names_that_are_none(name, said):
    with pytest.raises(InputError, match="(?s)" + said):
        data_set(name)


def test_every_data_set_says_what_one_must_know():
    every = datasets.data_sets() + [data_set(f"amazon-{name}") for name in datasets.AMAZON_CATEGORIES]
    for chosen in every:
        assert all((chosen.title, chosen.terms, chosen.cite)) and chosen.page.startswith("http")
        for file in chosen.files:
            assert file.urls and all(url.startswith("http") and url.endswith(f"/{file.name}") for url in file.urls)
    assert len({chosen.name for chosen in every}) == 2 + len(datasets.AMAZON_CATEGORIES)
