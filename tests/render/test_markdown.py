"""What strangers write stays text, in Markdown and in HTML."""

import json
import re

import pytest
from jinja2 import Template
from markdown_it import MarkdownIt

from bot.render import markdown
from bot.render.environment import environment
from bot.render.words import plain

NASTY = [
    "# a heading",
    "- a list",
    "1. a list",
    "2) a list",
    "+ plus",
    "= setext",
    "a | b | c",
    "`code` ``more``",
    "[text](https://evil.example/x)",
    "![image](https://evil.example/x.png)",
    "https://evil.example www.evil.example someone@evil.example @channel",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden -->",
    "&lt;script&gt;",
    "**bold** _emphasis_ ~~struck~~ $x$",
    "line\nbreak\r\nand | more\n\n# heading",
    "bidi \u202e\u2066 zero\u200bwidth bom\ufeff",
    "```\nfence",
    "{{ 7 * 7 }} {% raw %}",
    "\\",
    "> quote",
]
CALM = {"paragraph_open", "paragraph_close", "inline"}


def reader() -> MarkdownIt:
    """Return a Markdown reader with GitHub's tables."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize("text", NASTY)
def test_a_neutralised_value_is_one_paragraph_of_text(text: str) -> None:
    tokens = reader().parse(markdown.inline(text))
    assert {token.type for token in tokens} <= CALM
    children = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in children} <= {"text"}
    shown = "".join(child.content for child in children)
    assert shown.split() == plain(text).split()


@pytest.mark.parametrize("text", NASTY)
def test_nothing_is_left_that_becomes_a_link_by_itself(text: str) -> None:
    assert not re.search(r"(?<!\\)(://|@)|www\.", markdown.inline(text))


@pytest.mark.parametrize("text", NASTY)
def test_a_table_keeps_its_cells(text: str) -> None:
    table = f"| a | b | c |\n|---|---|---|\n| {markdown.inline(text)} | {markdown.code(text)} | end |\n"
    tokens = reader().parse(table)
    assert sum(token.type == "td_open" for token in tokens) == 3
    inner = [child.type for token in tokens for child in token.children or ()]
    assert set(inner) <= {"text", "code_inline"}


@pytest.mark.parametrize("text", NASTY)
def test_a_quotation_and_a_fence_cannot_be_left(text: str) -> None:
    quoted = [token.type for token in reader().parse(markdown.quote(text))]
    assert quoted[0] == "blockquote_open"
    assert not {"heading_open", "html_block", "fence"} & set(quoted)
    (fence,) = reader().parse(markdown.fenced({"label": text}))
    assert fence.type == "fence"
    assert "\u202e" not in fence.content


def test_the_fence_keeps_every_character_that_can_be_seen() -> None:
    (fence,) = reader().parse(markdown.fenced({"label": "a`b```c|d é"}))
    assert json.loads(fence.content) == {"label": "a`b```c|d é"}


@pytest.mark.parametrize(
    ("name", "shown"), [("x.md.j2", r"\# \<b\>"), ("x.html.j2", "# &lt;b&gt;"), ("x.txt.j2", "# <b>")]
)
def test_templates_neutralise_values_without_being_told(name: str, shown: str) -> None:
    made = environment()
    code = made.compile("{{ value }}", name=name, filename=name)
    assert Template.from_code(made, code, {}).render(value="# <b>") == shown
