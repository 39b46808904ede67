"""Reports as one HTML file: what was measured, how sure it is, and every query to look at.

A page opens from a disk or an e-mail, without a network. Its charts are inline SVG made here, so they follow
light and dark, print well and weigh a few kilobytes. The documents of the queries travel in the page as a
compressed table, which a script unpacks into an explorer; without the script, the charts and the largest
gains and losses are still there.

- :class:`RankedRows` holds labels, query ids and the scores of one or several models.
- :func:`ranking_page` makes the page of rankings: what ``lambdamart-kit report`` and ``bench --html`` write.
- :class:`Page`, :class:`Section` and :mod:`lambdamart_kit.report.charts` are what any page is made of.
"""

from lambdamart_kit.report.page import Page, Section
from lambdamart_kit.report.ranked_rows import RankedRows
from lambdamart_kit.report.ranking_page import ranking_page

__all__ = ["Page", "RankedRows", "Section", "ranking_page"]
