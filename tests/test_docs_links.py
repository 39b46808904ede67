"""Links between pages, and from README, lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
]
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Addresses of headings, as GitHub and the site make them."""
    found = set()
    for line in page.read_text().splitlines():
        if line.startswith("#"):
            text = re.sub(r"[`*]", "", line.lstrip("#").strip()).lower()
            found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for match in _LINK.finditer(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = page if not name else (page.parent / name).resolve()
        # Pages of the gallery are made by the build from the scripts of the same name.
        if "examples/" in name:
            place = ROOT / "docs" / "gallery" / f"{Path(name).name}.py"
        elif name and not place.suffix and not place.exists():
            place = place.with_suffix(".md")
        assert place.exists(), f"{page.name}: {target}"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place), f"{page.name}: {target}"


def test_every_page_of_the_guide_is_in_its_table_of_contents():
    listed = (ROOT / "docs" / "guide.md").read_text().split("```")[1].split()
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index", "guide", "faq"}
    assert pages <= set(listed)
