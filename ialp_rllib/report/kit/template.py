"""Rendering of the HTML pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_KIT = Path(__file__).parent


def render_template(template: Path, **values: Any) -> str:
    """Render a Jinja template to a self-contained page, with the style sheet as ``style`` and :func:`code` as a filter.

    Args:
        template: file of the template. It may import templates from its own folder and from this one.
        values: its variables; an undefined one is an error. They are escaped unless they are ``Markup``.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _KIT]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["code"] = code
    style = (_KIT / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=Markup(style), **values)


def code(text: str) -> Markup:
    """Escaped text in which what is between backticks becomes ``<code>``; an unpaired backtick stays."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )
