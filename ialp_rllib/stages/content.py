"""What a stage depends on beside settings and data, by content: the judge's model, the source of plugins."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ialp_rllib.agent.methods import BUILT_IN
from ialp_rllib.judge.engines.models import model_fingerprint, resolve_model
from ialp_rllib.judge.engines.vectors import encoder_content
from ialp_rllib.settings import EMBEDDING, LLM, Settings, parse_judge_model


def model_content(name: str) -> str:
    """What ``judge.model`` holds: the hash of a folder or file, or the id and commit of a model from a hub.

    A hub's model that was not downloaded yet has no commit; it is downloaded before a stage that needs it is judged.

    Raises:
        InputError: the folder is missing or holds no model.
    """
    kind, folder = parse_judge_model(name)
    if kind == EMBEDDING:
        return f"{kind}:{encoder_content(folder)}"
    if kind != LLM:
        return kind
    model = resolve_model(name)
    if Path(model).exists():
        return model_fingerprint(model)
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "refs" / "main"
    return f"{model}@{reference.read_text().strip() if reference.is_file() else ''}"


def plugin_content(settings: Settings, methods: Iterable[str]) -> list[str]:
    """Hashes of the sources of all plugins, if one of the methods is not the package's own; they must be imported."""
    if BUILT_IN.issuperset(methods):
        return []
    return [_source_hash(name) for name in settings.adapt.plugins]


def _source_hash(name: str) -> str:
    """SHA-256 of a module's source: of its whole package, or of the file and the files beside it that it imports."""
    digest = hashlib.sha256()
    for path in _sources(name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources(name: str) -> list[Path]:
    top = sys.modules[name.partition(".")[0]]
    if hasattr(top, "__path__"):
        return sorted(path for folder in top.__path__ for path in Path(folder).rglob("*.py"))
    file = getattr(sys.modules[name], "__file__", None)
    return sorted(_with_neighbours(Path(file))) if file else []


def _with_neighbours(path: Path) -> set[Path]:
    """A source file, and the files in its folder that it imports, directly or through one another."""
    found, open_ = set(), [path]
    while open_:
        file = open_.pop()
        if file in found:
            continue
        found.add(file)
        if file.suffix == ".py":
            for module in _imported(file):
                neighbour = path.parent.joinpath(*module.split("."))
                open_ += [p for p in (neighbour.with_suffix(".py"), neighbour / "__init__.py") if p.is_file()]
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
