"""The generated pages of docs/reference are what docs/generate.py would write now."""

from __future__ import annotations

import runpy

from ialp_rllib.settings.describe import describe
from tests.docs.reading import DOCS

PAGES = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


def test_they_are_up_to_date() -> None:
    stale = [name for name, text in PAGES.items() if (DOCS / "reference" / name).read_text("utf-8") != text]
    assert not stale, f"{', '.join(stale)}: run `python docs/generate.py`"


def test_every_setting_is_listed_once() -> None:
    for info in describe():
        assert PAGES["settings.md"].count(f"| `{info.name}` |") == 1


def test_a_cell_breaks_no_table() -> None:
    for name, text in PAGES.items():
        rows = [line for line in text.splitlines() if line.startswith("|")]
        for line in rows:
            assert line.endswith(" |") or set(line) <= set("|-"), f"{name}: {line}"
