"""What a Dockerfile copies: its instructions, and which files `.dockerignore` lets through."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple


class Layer(NamedTuple):
    """A RUN instruction, and the COPY instructions before it: (sources, destination)."""

    run: str
    copies: list[tuple[list[str], str]]


def layers(dockerfile: Path) -> list[Layer]:
    """The RUN instructions after the first COPY, in order."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    copies: list[tuple[list[str], str]] = []
    found = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "COPY":
            *sources, destination = [part for part in rest.split() if not part.startswith("--")]
            copies.append((sources, destination))
        elif word == "RUN" and copies:
            found.append(Layer(rest, list(copies)))
    return found


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of `.dockerignore`: `**` is any number of folders, `*` stays within one."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^]]*\])", text.strip("/"))
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(p, p if p.startswith("[") else re.escape(p)) for p in parts))


def is_ignored(path: str, ignore: str) -> bool:
    """Whether a path, relative to the context, stays out of it; the last pattern that fits it or its folder decides."""
    folders = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
    ignored = False
    for line in ignore.splitlines():
        if line.strip() and not line.startswith("#"):
            pattern = _pattern(line.removeprefix("!"))
            if any(pattern.fullmatch(folder) for folder in folders):
                ignored = not line.startswith("!")
    return ignored


def copy_context(context: Path, copies: list[tuple[list[str], str]], target: Path) -> None:
    """Copy what the COPY instructions name, as Docker does, from a checkout into ``target``.

    Raises:
        FileNotFoundError: a source is not there or is ignored: Docker ends the build.
    """
    ignore = (context / ".dockerignore").read_text()
    for sources, destination in copies:
        for source in sources:
            root = context / source
            files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
            kept = [path for path in files if not is_ignored(path.relative_to(context).as_posix(), ignore)]
            if not kept:
                raise FileNotFoundError(source)
            for path in kept:
                inside = path.name if root.is_file() else path.relative_to(root)
                copied = target / destination / inside
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copied)
