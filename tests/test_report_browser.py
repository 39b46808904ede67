"""Reports in a real browser: no request, no message, and an explorer that finds, sorts and opens queries."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.report import RankedRows, ranking_page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def rows():
    data = make_letor(n_queries=60, random_state=5)
    qid = np.array([f"q{q % 100:02d} {HOSTILE}" if q % 7 == 0 else f"q{q % 100:02d}" for q in data.qid])
    docid = np.array([f"doc {n}" for n in range(len(data))])
    named = RankingDataset(data.X[:, :3], data.y, qid, docid, (HOSTILE, "b", "c"))
    return RankedRows(named, {"first": data.X[:, 0].astype(float), HOSTILE: data.X[:, 1].astype(float)})


@pytest.fixture(scope="module")
def page_file(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    ranking_page(rows, title=HOSTILE).write(path)
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture(params=[(1600, "light"), (360, "dark")], ids=["wide and light", "narrow and dark"])
def opened(request, browser, page_file):
    """The page in a browser without a network; afterwards nothing may have been said or asked for."""
    width, scheme = request.param
    context = browser.new_context(offline=True, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#explorer table")
    yield page
    assert said == []
    assert asked == [page_file.as_uri()]
    context.close()


def column(page, number: int) -> list[str]:
    return page.locator(f"#explorer tbody tr > *:nth-child({number})").all_inner_texts()


def test_the_page_never_scrolls_sideways_and_follows_the_colour_scheme(opened):
    width = opened.viewport_size["width"]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if width == 1600 else "rgb(13, 17, 23)")
    assert opened.title() == HOSTILE


def test_finding_sorting_and_showing_more(opened, rows):
    assert len(column(opened, 1)) == 20
    opened.get_by_role("button", name="Show 20 more").click()
    opened.get_by_role("button", name="Show 20 more").click()
    assert len(column(opened, 1)) == rows.queries.n_queries == 60
    opened.locator("thead button[data-key=documents]").click()
    sizes = [int(text) for text in column(opened, 2)]
    assert sizes == sorted(rows.queries.sizes.tolist(), reverse=True)
    assert opened.locator("th[aria-sort=descending]").inner_text().startswith("documents")
    opened.locator("thead button[data-key=documents]").click()
    assert [int(text) for text in column(opened, 2)] == sorted(sizes)
    opened.get_by_label("Find a query").fill("q1")
    assert all("q1" in text for text in column(opened, 1))
    opened.get_by_label("Find a query").fill("ONERROR")
    assert all(HOSTILE in text for text in column(opened, 1))
    opened.get_by_label("Find a query").fill("")
    opened.get_by_label("Show").select_option("better")
    assert all(text.startswith("+") for text in column(opened, 6))


def test_numbers_in_the_table_are_those_of_the_metric(opened, rows):
    opened.get_by_role("button", name="Show 20 more").click()
    opened.get_by_role("button", name="Show 20 more").click()
    values = ndcg(rows.data.y, rows.scores["first"], rows.data.qid, k=10, per_query=True)
    expected = {str(q): v for q, v in zip(np.unique(rows.data.qid), values)}
    for name, text in zip(column(opened, 1), column(opened, 4)):
        assert text == ("blank" if np.isnan(expected[name]) else f"{expected[name]:.4f}")


def test_a_query_opens_in_both_orders_and_closes_by_keyboard(opened, rows):
    name = column(opened, 1)[0]
    opened.locator("#explorer tbody button").first.focus()
    opened.keyboard.press("Enter")
    lists = opened.locator("#explorer .lists table")
    assert lists.count() == 2
    assert opened.evaluate("document.activeElement.textContent") == f"Query {name}"
    of_query = np.flatnonzero(rows.data.qid == name)
    for number, scores in enumerate(rows.scores.values()):
        order = of_query[np.argsort(-scores[of_query], kind="stable")]
        shown = lists.nth(number).locator("tbody tr > *:nth-child(3)").all_inner_texts()
        assert shown == rows.data.docid[order].tolist()
        labels = lists.nth(number).locator("tbody tr > *:nth-child(4)").all_inner_texts()
        assert [float(text) for text in labels] == rows.data.y[order].tolist()
    opened.get_by_role("button", name="Back to the queries").focus()
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.textContent") == name
    opened.get_by_label("Compared with").select_option(label="ideal order")
    opened.locator("#explorer tbody button").first.click()
    assert lists.nth(1).locator("caption").inner_text() == "Order of the labels"
