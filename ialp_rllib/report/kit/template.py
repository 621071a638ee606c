"""A page from its template: one file that holds all it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_SHARED = Path(__file__).parent


def render_template(template: Path, **values: Any) -> str:
    """The text of a page; ``values`` are escaped unless they are markup.

    Args:
        template: its file; it may import the templates of its own folder and of this one.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    style = (_SHARED / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=Markup(style), **values)
