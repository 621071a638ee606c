"""Verification and unpacking of downloads, files placed by hand, and the list of data sets."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import replace

import pytest

from ialp_rllib.catalogue.download import datasets
from ialp_rllib.catalogue.download.datasets import data_set
from ialp_rllib.catalogue.download.fetch import CHECKSUMS
from ialp_rllib.errors import InputError
from tests.catalogue.download.archive import COAT, NOISE, fetch, sha, zipped


def test_download_unpacks_and_records_the_checksum(server, tmp_path):
    outcome = fetch(server, tmp_path / "new" / "coat")
    folder = tmp_path / "new" / "coat"
    body = server.contents["/coat.zip"][0]
    assert outcome == {"coat.zip": f"downloaded from {server.url}coat.zip, unpacked"}
    assert (folder / "coat.zip").read_bytes() == body
    assert (folder / "noise").read_bytes() == NOISE  # without the enclosing coat/
    assert (folder / "user_item_features" / "item_features.ascii").read_bytes() == NOISE[:1000]
    entry = json.loads((folder / CHECKSUMS).read_text())["coat.zip"]
    assert (entry["sha256"], entry["bytes"], entry["from"]) == (sha(body), len(body), f"{server.url}coat.zip")
    assert (folder / ".gitignore").read_text() == "*\n"
    assert not list(folder.glob("*.part*")) and not list(folder.glob("tmp*"))


def test_second_run_downloads_nothing(server, tmp_path):
    fetch(server, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    count = len(server.requests)
    assert fetch(server, tmp_path) == {"coat.zip": "already present"}
    assert len(server.requests) == count
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_existing_folder_gets_no_gitignore(server, tmp_path):
    fetch(server, tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_wrong_user_checksum(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(InputError) as caught:
        fetch(server, tmp_path, sha256={"": wrong})
    assert wrong in str(caught.value) and sha(server.contents["/coat.zip"][0]) in str(caught.value)
    assert (tmp_path / "coat.zip.bad").read_bytes() == server.contents["/coat.zip"][0]
    assert not (tmp_path / "coat.zip").exists() and not (tmp_path / CHECKSUMS).exists()


def test_correct_user_checksum(server, tmp_path):
    right = sha(server.contents["/coat.zip"][0])
    assert "unpacked" in fetch(server, tmp_path, sha256={"coat.zip": right.upper()})["coat.zip"]


def test_file_differs_from_the_first_download(server, tmp_path):
    fetch(server, tmp_path)
    first = sha((tmp_path / "coat.zip").read_bytes())
    other = zipped(COAT | {"coat/noise": NOISE[::-1]})
    (tmp_path / "coat.zip").write_bytes(other)
    with pytest.raises(InputError) as caught:
        fetch(server, tmp_path)
    assert first in str(caught.value) and sha(other) in str(caught.value) and CHECKSUMS in str(caught.value)
    assert (tmp_path / "coat.zip.bad").read_bytes() == other
    assert (tmp_path / "noise").read_bytes() == NOISE  # from the first archive
    (tmp_path / "noise").unlink()
    fetch(server, tmp_path)
    assert sha((tmp_path / "coat.zip").read_bytes()) == first


def test_wrong_publisher_checksum(server, tmp_path):
    file = replace(datasets.COAT.files[0], sha256="1" * 64)
    with pytest.raises(InputError, match=r"1{64} \(stated by the publisher\)"):
        fetch(server, tmp_path, replace(datasets.COAT, files=(file,)))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda body: body[:150_000] + b"damage" + body[150_006:], id="bytes changed"),
        pytest.param(lambda body: body[:-1000], id="cut"),
        pytest.param(lambda body: b"<!DOCTYPE html> log in first", id="web page"),
        pytest.param(lambda body: b"", id="empty"),
    ],
)
def test_damaged_zip_archive_is_renamed(server, tmp_path, damage):
    body = damage(server.contents["/coat.zip"][0])
    server.contents["/coat.zip"] = (body, '"bad"')
    with pytest.raises(InputError, match="is not a complete zip archive"):
        fetch(server, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coat.zip.bad"]
    assert (tmp_path / "coat.zip.bad").read_bytes() == body


def test_archive_of_other_contents(server, tmp_path):
    server.contents["/coat.zip"] = (zipped({"train.ascii": b"0"}), '"other"')
    with pytest.raises(InputError, match=r"does not contain test\.ascii, user_item"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("name", ["../escaped", "coat/../../escaped", "/escaped", "C:/escaped", "..\\escaped"])
def test_archive_member_outside_the_folder(server, tmp_path, name):
    server.contents["/coat.zip"] = (zipped(COAT | {name: b"x"}), '"evil"')
    folder = tmp_path / "in" / "coat"
    with pytest.raises(InputError, match="written outside the folder"):
        fetch(server, folder)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".gitignore", "coat.zip.bad"]


def test_archive_with_a_symbolic_link(server, tmp_path):
    buffer = io.BytesIO(server.contents["/coat.zip"][0])
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("coat/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    server.contents["/coat.zip"] = (buffer.getvalue(), '"link"')
    with pytest.raises(InputError, match="written outside the folder"):
        fetch(server, tmp_path)


def test_symbolic_link_in_the_target_folder(server, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "coat"
    outside.mkdir()
    folder.mkdir()
    (folder / "user_item_features").symlink_to(outside)
    with pytest.raises(InputError, match="resolves to a path outside the folder"):
        fetch(server, folder)
    assert not list(outside.iterdir())


def test_file_placed_by_hand_is_verified_and_used(server, tmp_path):
    (tmp_path / "coat.zip").write_bytes(server.contents["/coat.zip"][0])
    assert fetch(server, tmp_path) == {"coat.zip": "already present, unpacked"}
    assert server.requests == []
    assert json.loads((tmp_path / CHECKSUMS).read_text())["coat.zip"]["from"] == "by hand"
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_damaged_file_placed_by_hand_is_renamed_then_downloaded(server, tmp_path):
    (tmp_path / "coat.zip").write_bytes(server.contents["/coat.zip"][0][:-10])
    with pytest.raises(InputError, match="is not a complete zip archive"):
        fetch(server, tmp_path)
    assert server.requests == []
    assert "downloaded" in fetch(server, tmp_path)["coat.zip"]


def test_files_unpacked_by_hand_are_used(server, tmp_path):
    for name in datasets.COAT.files[0].holds:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    assert "used unverified" in fetch(server, tmp_path)["coat.zip"]
    assert server.requests == []
    assert (tmp_path / "train.ascii").read_bytes() == b"mine"


def test_archive_can_be_removed(server, tmp_path):
    assert "archive removed" in fetch(server, tmp_path, remove_archive=True)["coat.zip"]
    assert not (tmp_path / "coat.zip").exists()
    assert fetch(server, tmp_path) == {"coat.zip": "already unpacked, archive removed"}
    assert len(server.requests) == 1
    (tmp_path / "noise").unlink()
    fetch(server, tmp_path)
    assert len(server.requests) == 2
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_missing_file_is_unpacked_again(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "noise").unlink()
    assert fetch(server, tmp_path) == {"coat.zip": "already present, unpacked"}
    assert len(server.requests) == 1
    assert (tmp_path / "noise").read_bytes() == NOISE


def test_two_gzip_files_one_damaged(server, tmp_path):
    chosen = data_set("amazon-industrial")
    reviews, products = (file.name for file in chosen.files)
    good = gzip.compress(NOISE, mtime=0)
    server.contents |= {f"/{reviews}": (good, '"r"'), f"/{products}": (good[:-8] + b"\0" * 4 + good[-4:], '"p"')}
    with pytest.raises(InputError, match=r"is not a complete gzip archive .*CRC"):
        fetch(server, tmp_path, chosen)
    server.contents[f"/{products}"] = (good, '"q"')
    outcome = fetch(server, tmp_path, chosen)
    assert outcome == {reviews: "already present", products: f"downloaded from {server.url}{products}"}
    assert [path for path, _ in server.requests] == [f"/{reviews}", f"/{products}", f"/{products}"]
    assert (tmp_path / reviews).read_bytes() == good


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file exists where a folder is needed"):
        fetch(server, tmp_path / "file")


def test_damaged_checksums_file(server, tmp_path):
    (tmp_path / CHECKSUMS).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sha256": {"": "12"}}, "is not a SHA-256"),
        ({"sha256": {"cloth.zip": "0" * 64}}, "is not a file of this data set"),
    ],
)
def test_invalid_checksum_options(server, tmp_path, given, problem):
    with pytest.raises(InputError, match=problem):
        fetch(server, tmp_path, **given)


def test_url_of_two_files_must_be_a_folder(server, tmp_path):
    with pytest.raises(InputError, match="is one file"):
        fetch(server, tmp_path, data_set("amazon-industrial"), url=f"{server.url}file.gz")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coat", "coat"),
        ("LFM-1b", "lfm-1b"),
        ("amazon-industrial", "amazon-industrial"),
        ("amazon-Industrial_and_Scientific", "amazon-industrial"),
        ("amazon-video", "amazon-video-games"),
        ("amazon-books", "amazon-books"),
    ],
)
def test_data_set_names(name, expected):
    assert data_set(name).name == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("amazon-c", "matches 3 categories.*amazon-cds-and-vinyl"),
        ("amazon-ofice-products", "no such category.*amazon-office-products"),
        ("amazon-", "no such category"),
        ("netflix", "coat, lfm-1b, amazon-industrial"),
    ],
)
def test_unknown_data_set_names(name, message):
    with pytest.raises(InputError, match="(?s)" + message):
        data_set(name)


def test_metadata_of_all_data_sets():
    every = datasets.data_sets() + [data_set(f"amazon-{name}") for name in datasets.AMAZON_CATEGORIES]
    for chosen in every:
        assert all((chosen.title, chosen.terms, chosen.cite)) and chosen.page.startswith("http")
        for file in chosen.files:
            assert file.urls and all(url.startswith("http") and url.endswith(f"/{file.name}") for url in file.urls)
    assert len({chosen.name for chosen in every}) == 2 + len(datasets.AMAZON_CATEGORIES)
