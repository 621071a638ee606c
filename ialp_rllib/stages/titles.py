"""What each stage does, in the order of a run. Imports nothing, so that the command line can list them at once."""

from __future__ import annotations

TITLES = {
    "prepare": "Read and check the data",
    "users": "Fit the simulated users",
    "warm": "Learn from the log",
    "tune": "Tune and audit the judge",
    "distil": "Distil the judge's preferences",
    "pretrain": "Pre-train against the judge",
    "joint": "Learn from log and judge together",
    "adapt": "Go online and adapt",
    "report": "Write the report",
}

LEA_TITLES = {
    "tokens": "Learn item tokens",
    "environment": "Learn the LLM environment",
    "augment": "Ask the environment about all users",
    "recommend": "Train the recommenders",
    "ranking": "Write the ranking report",
}
"""The stages of `ialp lea`, after ``prepare``."""
