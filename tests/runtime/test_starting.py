"""Ray that does not start, and clusters that cannot be joined: one sentence each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import psutil
import pytest
import ray

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.runtime import services, starting

PATIENCE = "RAY_agent_register_timeout_ms"


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a token behind, or changes that of the session's Ray."""
    monkeypatch.setattr(starting, "_reread_token", lambda: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *starting._PATIENCE):
        monkeypatch.delenv(name, raising=False)
    yield
    assert not starting._before


def test_a_busy_machine_gets_a_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def init(**options: object) -> None:
        calls.append((options, os.environ["RAY_AUTH_TOKEN"], dict(os.environ)[PATIENCE]))
        if len(calls) == 1:
            raise Exception("The current node timed out during startup. This could happen because ...\nmore")

    monkeypatch.setattr(ray, "init", init)
    starting.start_here(num_cpus=1)
    assert len(calls) == 2 and calls[0] == calls[1]
    assert calls[0][0]["_node_ip_address"] == "127.0.0.1" and calls[0][0]["include_dashboard"] is False
    assert len(calls[0][1]) == 64 and int(calls[0][2]) > 15_000
    starting.forget_token()
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", PATIENCE} & set(os.environ)


def test_two_failures_are_one_sentence_and_leave_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[psutil.Popen] = []

    def init(**options: object) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(600)", "/ray/core/src/ray/gcs/gcs_server"]
        started.append(psutil.Popen(command, stdin=subprocess.DEVNULL))
        raise Exception("The current node timed out during startup. And so on.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(IalpError, match=r"(?s)did not start .* twice \(The current node.*is kept") as info:
        starting.start_here()
    assert len(str(info.value).splitlines()) == 1
    assert len(started) == 2 and not any(process.is_running() for process in started)


def test_a_process_that_is_just_being_started_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the system call and the program's first instruction, /proc shows no command line (1 in 300 here)."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", "/ray/core/src/ray/gcs/gcs_server"]
    process = psutil.Popen(command, stdin=subprocess.DEVNULL)
    seen = iter([[], [], command])
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: next(seen))
    starting._end_processes([psutil.Process(process.pid)])
    assert not process.is_running() and next(seen, None) is None


def test_the_users_own_choice_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(ray, "init", lambda **_: seen.append(dict(os.environ)))
    for mine in ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine"}, {"RAY_AUTH_MODE": "disabled"}):
        for name, value in mine.items():
            monkeypatch.setenv(name, value)
        starting.start_here()
        assert mine.items() <= seen[-1].items()
        starting.forget_token()
        assert mine.items() <= os.environ.items()


def test_a_cluster_that_is_not_there_or_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ray.exceptions.AuthenticationError("no")))
        with pytest.raises(InputError, match=r"asks for a token(.|\n)*RAY_AUTH_TOKEN_PATH"):
            starting.join(address)
    with pytest.raises(InputError, match=r"cannot be reached(.|\n)*RAY_ADDRESS unset"):
        starting.join(address)  # closed now: found out at once, where Ray would try for minutes


def test_what_workers_log_stays_out_of_the_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(starting.ray, "init", lambda **given: options.update(given))
    starting.join("auto")
    assert options["address"] == "auto" and options["log_to_driver"] is False


@pytest.mark.parametrize(("nodes", "asked"), [((0,), 1), ((0, 2), 2), ((0, 8), 4), ((), 1)])
def test_an_engine_waits_for_a_worker_where_the_head_has_no_cpu(
    nodes: tuple[int, ...], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [{"Alive": True, "Resources": {"CPU": float(cpus)} if cpus else {}} for cpus in nodes]
    actor = mock.MagicMock()
    monkeypatch.setattr(services, "ray", mock.MagicMock(nodes=lambda: known, remote=lambda _: actor))
    monkeypatch.setattr(services, "local", lambda: False)
    services.service(dict, cpus=4)
    assert actor.options.call_args.kwargs["num_cpus"] == asked
