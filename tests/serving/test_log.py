"""The log of a service: what was acknowledged is there, a torn line is not, and a reader goes on where it was."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.serving.log import SegmentLog, Tail


def test_rows_come_back_once_from_all_writers(tmp_path: Path) -> None:
    one, two = SegmentLog(tmp_path, max_bytes=60), SegmentLog(tmp_path)
    tail = Tail(tmp_path)
    assert tail.read() == []
    one.append([{"a": 1}, {"a": "line\nbreak"}])
    two.append([{"b": 1}])
    assert sorted(map(str, tail.read())) == sorted(map(str, [{"a": 1}, {"a": "line\nbreak"}, {"b": 1}]))
    assert tail.read() == []
    for number in range(20):
        one.append([{"n": number}])
    again = Tail(tmp_path, json.loads(json.dumps(tail.cursor)))
    assert [row["n"] for row in again.read()] == list(range(20))
    assert len(list(tmp_path.glob("*.jsonl"))) > 3
    one.append([])
    one.close()
    one.append([{"n": 20}])
    assert tail.read()[-1] == {"n": 20}


def test_a_reader_takes_as_much_as_it_is_told(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, max_bytes=200, sync=False)
    for number in range(100):
        log.append([{"n": number}])
    tail, parts = Tail(tmp_path), []
    while part := tail.read(7):
        assert len(part) <= 7
        parts += part
    assert [row["n"] for row in parts] == list(range(100))


def test_long_lines_and_many_of_them(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, max_bytes=1 << 30, sync=False)
    log.append({"n": n, "text": "x" * 300_000} for n in range(20))
    log.append([{"n": 20, "text": "y" * 9_000_000}, {"n": 21}])
    assert [row["n"] for row in Tail(tmp_path).read()] == list(range(22))


def test_torn_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    log.append([{"n": 0}])
    path = next(tmp_path.glob("*.jsonl"))
    with path.open("ab") as file:
        file.write(b'{"n": 1, "torn')  # killed in the middle of a line
    other, tail = SegmentLog(tmp_path), Tail(tmp_path)
    other.append([{"n": 2}])
    assert [row["n"] for row in tail.read()] == [0, 2]
    with path.open("ab") as file:
        file.write(b'"}\nnot json\n[1]\n\xff\xfe\n{"n": 3}\n')
    assert tail.read() == [{"n": 3}]
    assert tail.damaged == 4


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        SegmentLog(tmp_path).append([{"n": float("nan")}])
    assert Tail(tmp_path).read() == []


def test_a_full_disk_is_a_refusal_and_tears_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, write = SegmentLog(tmp_path), os.write
    log.append([{"n": 0}])

    def full(file: int, data: bytes) -> int:
        write(file, bytes(data)[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ialp_rllib.serving.log.os.write", full)
    with pytest.raises(InputError, match="no space is left"):
        log.append([{"n": 1}])
    monkeypatch.undo()
    log.append([{"n": 2}])
    assert [row["n"] for row in Tail(tmp_path).read()] == [0, 2]


def test_threads_share_a_log(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, max_bytes=500, sync=False)
    threads = [
        threading.Thread(target=lambda k=k: [log.append([{"k": k, "n": n}]) for n in range(50)])  # type: ignore[misc]
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = Tail(tmp_path).read()
    assert len(rows) == 200
    for k in range(4):
        assert [row["n"] for row in rows if row["k"] == k] == list(range(50))
