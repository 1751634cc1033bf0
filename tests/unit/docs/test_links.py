"""Every relative link of every page leads somewhere, and every `make` target that a page names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
NOT_OURS = {"build", "dist", "node_modules"}
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    def walk(folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.name.startswith(".") and entry.name not in NOT_OURS:
                yield from walk(entry)
            elif entry.suffix == ".md":
                yield entry

    return list(walk(ROOT))


def links(text: str) -> list[str]:
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))
    found = re.findall(r"\]\(([^()\s]+)\)", prose)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """The names under which GitHub shows a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        copy = 1
        unique = name
        while unique in found:
            unique = f"{name}-{copy}"
            copy += 1
        found.add(unique)
    return found


def make_targets_named_in(text: str) -> set[str]:
    """The targets of the commands that begin with `make`, in code spans and in blocks."""
    code = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    for block in FENCED.findall(text):
        code += block.splitlines()
    named: set[str] = set()
    for line in code:
        command = line.strip().removeprefix("$ ")
        if command.startswith("make "):
            for word in command.split()[1:]:
                if not re.fullmatch(r"[a-z][a-z0-9-]*", word):
                    break
                named.add(word)
    return named


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in links(page.read_text()):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            wrong.append(f"{link}: there is no {target}")
        elif anchor and anchor not in anchors(target.read_text()):
            wrong.append(f"{link}: {target.name} has no such heading")
    assert wrong == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page: Path) -> None:
    there = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert make_targets_named_in(page.read_text()) <= there


def test_every_page_of_the_docs_is_in_their_index() -> None:
    docs = ROOT / "docs"
    index = docs / "README.md"
    listed = {(docs / link.partition("#")[0]).resolve() for link in links(index.read_text())}
    there = {page for page in docs.rglob("*.md") if page != index}
    assert there - listed == set()


def test_links_and_anchors_are_told_from_code_and_from_each_other() -> None:
    text = "# A `b`: c\n## Twice\n## Twice\n[x](y.md#z) `[no](link)` [web](https://a.b/c)\n```\n# [no](code)\n```\n"
    assert links(text) == ["y.md#z"]
    assert anchors(text) == {"a-b-c", "twice", "twice-1"}
    assert make_targets_named_in("`make a-b c ARGS=d` make sure\n```sh\n$ make e   # f\n```\n") == {"a-b", "c", "e"}
