"""Relative links lead to files and headings that are there, and every page is in the navigation."""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY
from tests.docs.reading import DOCS, NAMES, PAGES, Page


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_relative_links_resolve(page: Page) -> None:
    problems = []
    for link in page.links:
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        if not path.exists():
            problems.append(f"{link}: there is no {path.relative_to(REPOSITORY)}")
        elif anchor and anchor not in Page(path).anchors:
            problems.append(f"{link}: no such heading")
        elif page.path.is_relative_to(DOCS) and not path.is_relative_to(DOCS):
            problems.append(f"{link}: leads out of the site; name the file instead")
    assert not problems, "\n".join(problems)


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"[\w./-]+\.md", (REPOSITORY / "mkdocs.yml").read_text("utf-8").partition("nav:")[2])
    assert sorted(named) == sorted(str(page.path.relative_to(DOCS)) for page in PAGES if page.path.is_relative_to(DOCS))


def test_readme_is_short() -> None:
    assert len(PAGES[0].text.splitlines()) <= 120


def test_nothing_is_loaded_from_elsewhere() -> None:
    """The site works offline: no fonts, scripts or pictures from other sites."""
    for page in PAGES:
        assert not re.search(r'src="https?:|!\[[^\]]*\]\(https?:', page.prose), page.name
    assert "font: false" in (REPOSITORY / "mkdocs.yml").read_text("utf-8")
