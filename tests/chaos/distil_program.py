"""A distillation of the sample as a program, to be killed by a test: ``distil_program.py FOLDER LOG``.

Appends events to LOG as JSON lines: every request to the judge, and every answer with the number of prompts that were
passed to engines so far.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from ialp_rllib import runtime, settings
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.start import start_judge
from ialp_rllib.settings import DistilSettings, RuntimeSettings


def main(folder: Path, log: Path) -> None:
    def note(**facts: object) -> None:
        with log.open("a") as file:
            file.write(json.dumps(facts) + "\n")

    class Counting(LLMJudge):
        def submit(self, history, candidates, frame=None, users=None):
            note(event="asked", prompts=len(history))
            return super().submit(history, candidates, frame, users)

    scenario = settings.load("sample")
    catalogue = read_source(scenario.catalogue)
    runtime.start(RuntimeSettings(cpus=4))
    judge = start_judge(
        dataclasses.replace(scenario.judge, engine="transformers", replicas=2, timeout=600.0), catalogue, "tiny"
    )
    judge.__class__ = Counting
    plan = DistilSettings(sessions=500, steps=10, batch=50)
    distil(judge, plan, catalogue, folder, lambda now: note(event="answered", given=judge.client._dispatched))
    runtime.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
