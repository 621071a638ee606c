"""Twenty random kills of engines and drivers: the table is the one of a run that was left alone, nothing is lost."""

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
KILLS, ROWS, BATCH, UNDER_WAY = 20, 5000, 50, 4


class Driver:
    """One process of the program, and what it has told so far."""

    def __init__(self, folder: Path, log: Path) -> None:
        log.touch()
        self.log, self.start = log, len(log.read_text())
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), str(log)], env=environment(), start_new_session=True
        )

    def told(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text()[self.start :].splitlines() if line.endswith("}")]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.told())

    def wait(self, answers: int) -> bool:
        """Until so many questions were answered; False if the program came to its end before."""
        while self.count("answered") < answers:
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def engines(self) -> list[psutil.Process]:
        return children(self.process.pid, "EngineActor")

    def kill(self) -> None:
        """The driver and its Ray, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def lost(self) -> int:
        """Prompts that were given in and not answered."""
        return (self.count("asked") - self.count("answered")) * BATCH

    def repeated(self) -> int:
        """Prompts that were handed out again because an engine died."""
        told = self.told()
        last = max((n for n, line in enumerate(told) if line["event"] == "answered"), default=-1)
        return told[last]["given"] - sum(line.get("prompts", 0) for line in told[:last]) if last >= 0 else 0


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_kills(tmp_path: Path) -> None:
    assert Driver(tmp_path / "whole", tmp_path / "whole.log").process.wait(600) == 0
    random_ = random.Random(0)
    folder, log = tmp_path / "killed", tmp_path / "killed.log"
    driver, kills = Driver(folder, log), {"driver": 0, "engine": 0}
    lost = repeated = 0
    while sum(kills.values()) < KILLS:
        assert driver.wait(driver.count("answered") + random_.randint(1, 4)), "it ended before all kills"
        engines = driver.engines()
        if engines and random_.random() < 0.5:
            random_.choice(engines).kill()
            kills["engine"] += 1
        else:
            driver.kill()
            kills["driver"] += 1
            lost, repeated = lost + driver.lost(), repeated + max(0, driver.repeated())
            driver = Driver(folder, log)
    assert driver.process.wait(600) == 0
    lost, repeated = lost + driver.lost(), repeated + driver.repeated()
    asked = sum(json.loads(line).get("prompts", 0) for line in log.read_text().splitlines())
    print(f"{kills}: {asked} prompts asked for {ROWS} rows, {repeated} of them handed out again to another engine")
    assert read_table(folder).num_rows == ROWS
    assert table_hash(folder) == table_hash(tmp_path / "whole")
    assert ROWS <= asked <= ROWS + lost  # nothing but what was under way at a kill is asked again
    assert lost <= kills["driver"] * UNDER_WAY * BATCH
    assert repeated <= kills["engine"] * 2 * BATCH
