"""The one Jinja2 environment. Values are neutralised by what the template makes: HTML, Markdown or plain text."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context

from bot.render import markdown, words

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Return the environment, built once. Undefined names raise; nothing that is rendered is ever a template."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "md": markdown.inline,
        "code": markdown.code,
        "quote": markdown.quote,
        "fenced": markdown.fenced,
        "plain": words.plain,
        "clock": words.clock,
        "stamp": words.stamp,
        "date": words.date_and_time,
        "duration": words.duration,
    }
    return made


def render(template: str, **values: object) -> str:
    """Return a template of ours filled with `values`."""
    return environment().get_template(template).render(values)


@pass_context
def _finalize(context: Context, value: object) -> object:
    """Neutralise what an expression gives, unless it was made for this medium on purpose."""
    if value is None:
        return "—"
    name = context.name or ""
    if name.endswith(".md.j2"):
        return value if isinstance(value, markdown.Markdown) else markdown.inline(value)
    if name.endswith(".txt.j2"):
        return words.plain(str(value))
    return words.visible(value) if type(value) is str else value  # autoescape does the rest for HTML
