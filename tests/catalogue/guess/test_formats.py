"""Supported formats are read; for all others the error names the problem and a command that solves it."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ialp_rllib.catalogue.guess import guess_folder
from ialp_rllib.errors import InputError
from tests.catalogue.guess.folders import (
    ITEMS,
    expected_sequences,
    item_rows,
    log_rows,
    put,
    seconds,
    shop,
    stars,
    through,
)
from tests.catalogue.made_up import FORMATS, delimited, sequences


def error_for(folder: Path) -> InputError:
    with pytest.raises(InputError) as error:
        guess_folder(folder)
    return error.value


def run(command: str) -> None:
    """Run a command from an error message in a shell, with this interpreter as `python`."""
    command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command.strip())
    subprocess.run(command, shell=True, check=True)


def commands(error: InputError) -> list[str]:
    return [line for line in error.expected.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("ending", FORMATS)
def test_supported_formats(tmp_path, ending):
    folder = shop(tmp_path / "shop", ending=ending)
    guess, settings, catalogue = through(folder, tmp_path)
    assert (guess.pair.log.file, guess.pair.items.file) == (f"interactions.{ending}", f"items.{ending}")
    assert settings.catalogue.attributes == ("title",)
    assert sequences(catalogue) == expected_sequences()
    assert guess.warnings == []


def test_atomic_files(tmp_path):
    folder = tmp_path / "ml"
    folder.mkdir()
    log = delimited("\t", quote=False, types=("token", "token", "float"))(log_rows(timestamp=seconds))
    (folder / "ml.inter").write_bytes(log)
    (folder / "ml.item").write_bytes(delimited("\t", quote=False, types=("token", "token_seq"))(item_rows()))
    people = [{"user_id": f"u{n}", "age": n} for n in range(40)]
    (folder / "ml.user").write_bytes(delimited("\t", quote=False, types=("token", "float"))(people))
    guess, settings, catalogue = through(folder, tmp_path)
    assert guess.users is not None and settings.catalogue.users.file == "ml.user"
    assert sequences(catalogue) == expected_sequences()


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    folder = shop(tmp_path / "shop")
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


@pytest.mark.parametrize(("delimiter", "named"), [(";", "semicolons"), ("|", "bars (|)"), ("\t", "tabs")])
def test_other_delimiters(tmp_path, delimiter, named):
    folder = shop(tmp_path / "my shop")
    log, items = folder / "interactions.csv", folder / "items.csv"
    log.write_bytes(delimited(delimiter)(log_rows(timestamp=seconds)))
    error = error_for(folder)
    assert error.where == str(log)
    assert f"separated by {named}; CSV requires commas" in error.problem
    [command] = commands(error)
    run(command)
    guess, _, catalogue = through(folder, tmp_path)
    assert guess.pair.log.file == "interactions.parquet" and guess.pair.items.file == items.name
    assert sequences(catalogue) == expected_sequences()


def test_both_files_unsupported(tmp_path):
    folder = shop(tmp_path / "shop")
    for name, rows in (("interactions.csv", log_rows(timestamp=seconds)), ("items.csv", item_rows())):
        (folder / name).write_bytes(delimited(";")(rows))
    error = error_for(folder)
    assert error.where == str(folder) and "interactions.csv" in error.problem and "items.csv" in error.problem
    for command in commands(error):
        run(command)
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


def test_no_header(tmp_path):
    """As in MovieLens 1M: `::` as delimiter, no header, extension `.dat`."""
    folder = tmp_path / "ml"
    folder.mkdir()
    log = [
        [f"{u + 1}", f"{(7 * u + 5 * s) % ITEMS + 1}", str(stars(u, s)), str(seconds(u, s))]
        for u in range(40)
        for s in range(6)
    ]
    (folder / "ratings.dat").write_text("".join("::".join(row) + "\n" for row in log))
    items = "".join(f"{n + 1}::Film {n}, the ({1950 + n})::Drama|Comedy\n" for n in range(ITEMS))
    (folder / "movies.dat").write_text(items)
    error = error_for(folder)
    assert "no header" in error.problem and "'1', '1', '1', '1600000000'" in error.problem
    assert "its extension is none of .csv" in error.problem
    for command in commands(error):
        assert "'item_id'" in command
        run(command)
    guess, settings, catalogue = through(folder, tmp_path)
    assert settings.catalogue.interactions.user == "user_id" and settings.catalogue.interactions.rating == "rating"
    assert sequences(catalogue)["1"] == [log[s][1] for s in range(6)]
    assert guess.item_noun == "movie"


def test_no_header_and_a_title_like_a_column_name(tmp_path):
    folder = shop(tmp_path / "shop")
    (folder / "items.csv").write_text("".join(f"{n},Main Street {n},Drama\n" for n in range(ITEMS)))
    log = [{"user_id": u, "item_id": (u + s) % ITEMS, "timestamp": 10**9 + s} for u in range(40) for s in range(3)]
    put(folder, "interactions.csv", log)
    assert "items.csv: it has no header" in error_for(folder).problem


def test_no_header_and_text_only(tmp_path):
    folder = shop(tmp_path / "shop")
    path = folder / "interactions.csv"
    path.write_text("\n".join(f"u{u},i{(u + s) % ITEMS}" for u in range(40) for s in range(6)) + "\n")
    error = error_for(folder)
    assert error.where == str(path) and "no header" in error.problem and "'u0', 'i0'" in error.problem


@pytest.mark.parametrize(
    ("encoding", "title", "named"),
    [
        ("cp1252", "Café crème brûlée, très bon", "cp1252"),
        ("cp1251", "Война и мир, роман в четырёх томах", "cp1251"),
        ("utf-16", "Café crème", "utf-16"),
        ("utf-16-le", "Café crème", "utf-16-le"),
    ],
)
def test_other_encodings(tmp_path, encoding, title, named):
    folder = shop(tmp_path / "shop")
    rows = [{**row, "title": f"{title} {n}"} for n, row in enumerate(item_rows())]
    path = folder / "items.csv"
    path.write_bytes(FORMATS["csv"](rows).decode().encode(encoding))
    error = error_for(folder)
    assert error.where == str(path)
    assert "not UTF-8" in error.problem and named in error.problem and title in error.problem
    run(commands(error)[0])
    guess, _, catalogue = through(folder, tmp_path)
    assert guess.pair.items.file == "utf8-items.csv"
    assert catalogue.item_texts["title"][0] == f"{title} 0"


def test_compressed_file_in_another_encoding(tmp_path):
    folder = shop(tmp_path / "shop")
    rows = [{**row, "title": f"Größe {n}"} for n, row in enumerate(item_rows())]
    (folder / "items.csv").unlink()
    (folder / "items.csv.gz").write_bytes(gzip.compress(delimited(";")(rows).decode().encode("cp1252")))
    error = error_for(folder)
    assert "semicolons" in error.problem and "cp1252" in error.problem
    run(commands(error)[0])
    assert through(folder, tmp_path)[2].item_texts["title"][3] == "Größe 3"


def test_a_json_array(tmp_path):
    folder = shop(tmp_path / "shop")
    (folder / "items.csv").unlink()
    (folder / "items.json").write_text(json.dumps(item_rows(), indent=1))
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


def test_lines_above_the_header(tmp_path):
    folder = shop(tmp_path / "shop")
    path = folder / "interactions.csv"
    path.write_text("# exported on Monday\n" + path.read_text())
    error = error_for(folder)
    assert "does not start with the header" in str(error)
    run(error.expected[error.expected.index("cat ") :].splitlines()[0])
    path.unlink()
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("items.xlsx", b"PK\x03\x04", "is a spreadsheet, which is not supported: save each sheet as CSV"),
        ("items.csv.bz2", b"BZh9", "the compressed data are corrupt or truncated"),
        ("items.zip", b"PK\x03\x04", "the compressed data are corrupt or truncated"),
        ("items.7z", b"7z", "an archive, which is not supported: 7z x"),
        ("items.pkl", b"\x80\x04", "can execute code"),
        ("items.csv", b"PK\x03\x04....", "contains a zip archive or a spreadsheet, unlike its file extension"),
        ("items.csv", b"", "is empty (0 bytes)"),
        ("items.csv", bytes(range(32)) * 40, "is not a text file"),
        ("items.csv.gz", gzip.compress(b"item_id,title\n" * 1000, mtime=0)[:30], "cannot be read as gzip"),
        ("items.csv", b"item_id,title,title\ni0,a,b\n", "'title'"),
    ],
)
def test_unreadable_files(tmp_path, name, data, said):
    folder = tmp_path / "shop"
    put(folder, "interactions.csv", log_rows(timestamp=seconds))
    (folder / name).write_bytes(data)
    error = error_for(folder)
    assert error.where == str(folder) and "contains a single table: interactions.csv" in error.problem
    assert name in error.expected and said in error.expected


def test_feather(tmp_path):
    import pandas

    folder = tmp_path / "it's a shop"
    put(folder, "interactions.csv", log_rows(timestamp=seconds))
    pandas.DataFrame(item_rows()).to_feather(folder / "items.feather")
    [command] = [line for line in error_for(folder).expected.splitlines() if "items.feather" in line]
    run(command[command.index("python") :])
    assert sequences(through(folder, tmp_path)[2]) == expected_sequences()


def test_partitioned_parquet(tmp_path):
    import pandas

    folder = tmp_path / "shop"
    put(folder, "items.csv", item_rows())
    parts = folder / "interactions.parquet"
    parts.mkdir()
    rows = log_rows(timestamp=seconds)
    for n in range(2):
        pandas.DataFrame(rows[n * 120 : n * 120 + 120]).to_parquet(parts / f"part-{n}.parquet")
    error = error_for(folder)
    command = next(line for line in error.expected.splitlines() if "is a partitioned data set" in line)
    run(command[command.index("python") :])
    guess, _, catalogue = through(folder, tmp_path)
    assert guess.pair.log.file == "interactions-merged.parquet"
    assert sequences(catalogue) == expected_sequences()
