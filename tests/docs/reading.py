"""What the documentation holds: its fenced blocks, code in running text, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        where: file and line of its first line.
        language: as written behind the fence; may be empty.
    """

    where: str
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(REPOSITORY))

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for match in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 2
            indent = match[1]
            lines = [row.removeprefix(indent) for row in match[3].split("\n")]
            found.append(Block(f"{self.name}, line {line}", match[2].strip(), "\n".join(lines)))
        return found

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def codes(self) -> list[str]:
        """Code in running text and tables, in one line each."""
        return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures that lead to no other site."""
        text = re.sub(r"`[^`]*`", "", self.prose)
        found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
        return [target for target in found if not re.match(r"[a-z]+:", target)]

    @cached_property
    def anchors(self) -> set[str]:
        """What `#` can lead to in this page, as Python-Markdown names it."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {slug(heading) for heading in headings}


def slug(heading: str) -> str:
    """The anchor of a heading."""
    plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


def pages() -> list[Page]:
    """README.md and everything below docs/."""
    return [Page(REPOSITORY / "README.md"), *(Page(path) for path in sorted(DOCS.rglob("*.md")))]


PAGES = pages()
NAMES = [page.name for page in PAGES]
