"""Twenty random kills of engines and drivers: the table equals that of an undisturbed run, and no answer is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ialp_rllib.judge.distillation.preferences import read_table, table_hash
from tests.processes import children
from tests.small_run import environment

PROGRAM = Path(__file__).parent / "distil_program.py"
KILLS, ROWS, BATCH, IN_FLIGHT = 20, 5000, 50, 4


class Driver:
    """A process of the program, and the events that it has logged."""

    def __init__(self, folder: Path, log: Path) -> None:
        log.touch()
        self.log, self.start = log, len(log.read_text())
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), str(log)], env=environment(), start_new_session=True
        )

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text()[self.start :].splitlines() if line.endswith("}")]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.events())

    def wait(self, answers: int) -> bool:
        """Wait until this many requests are answered; False if the program ends before."""
        while self.count("answered") < answers:
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def engines(self) -> list[psutil.Process]:
        return children(self.process.pid, "EngineActor")

    def kill(self) -> None:
        """Kill the driver together with its Ray processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def lost(self) -> int:
        """Number of prompts that were requested and not answered."""
        return (self.count("asked") - self.count("answered")) * BATCH

    def repeated(self) -> int:
        """Number of prompts that were passed to another engine because an engine died."""
        events = self.events()
        last = max((n for n, line in enumerate(events) if line["event"] == "answered"), default=-1)
        return events[last]["given"] - sum(line.get("prompts", 0) for line in events[:last]) if last >= 0 else 0


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_kills(tmp_path: Path) -> None:
    assert Driver(tmp_path / "whole", tmp_path / "whole.log").process.wait(600) == 0
    rng = random.Random(0)
    folder, log = tmp_path / "killed", tmp_path / "killed.log"
    driver, kills = Driver(folder, log), {"driver": 0, "engine": 0}
    lost = repeated = 0
    while sum(kills.values()) < KILLS:
        assert driver.wait(driver.count("answered") + rng.randint(1, 4)), "it ended before all kills"
        engines = driver.engines()
        if engines and rng.random() < 0.5:
            rng.choice(engines).kill()
            kills["engine"] += 1
        else:
            driver.kill()
            kills["driver"] += 1
            lost, repeated = lost + driver.lost(), repeated + max(0, driver.repeated())
            driver = Driver(folder, log)
    assert driver.process.wait(600) == 0
    lost, repeated = lost + driver.lost(), repeated + driver.repeated()
    asked = sum(json.loads(line).get("prompts", 0) for line in log.read_text().splitlines())
    print(f"{kills}: {asked} prompts asked for {ROWS} rows, {repeated} of them passed to another engine again")
    assert read_table(folder).num_rows == ROWS
    assert table_hash(folder) == table_hash(tmp_path / "whole")
    assert ROWS <= asked <= ROWS + lost  # only prompts that were in flight at a kill are asked again
    assert lost <= kills["driver"] * IN_FLIGHT * BATCH
    assert repeated <= kills["engine"] * 2 * BATCH
