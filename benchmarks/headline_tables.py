"""The tables of headlines, made from the JSON that `python -m benchmarks` writes.

`results` is the page RESULTS-headlines.md, `readme` the table between two comment marks of README.md. A test
makes both anew and compares: a figure that was typed by hand, or a run that was not written out, fails it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STORE = HERE / "RESULTS-headlines.json"
PAGE = HERE / "RESULTS-headlines.md"
README = HERE.parent / "README.md"
BEGIN = "<!-- headlines: python -m benchmarks writes these lines -->"
END = "<!-- headlines: end -->"

# What README shows of the page, in this order: rows whose name begins so.
IN_README = (
    "training, every row",
    "scoring",
    "exact SHAP",
    "NDCG@10 from arrays",
    "reading LETOR",
    "Bradley-Terry",
    "Plackett-Luce",
    "reward model",
    "one fit",
    "`GridSearchCV`",
    "imports",
)
NOT_IN_README = ("from pandas",)

Record = dict[str, Any]


def load(store: Path = STORE) -> list[Record]:
    """The runs that are kept, one for each machine and choice of sizes."""
    if not store.exists():
        return []
    runs: list[Record] = json.loads(store.read_text())["runs"]
    return runs


def figure(value: float) -> str:
    """Two digits, and all digits before the point."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(record: Record) -> str:
    """A ratio and how far it goes within the pairs."""
    return f"{figure(record['ratio'])} ({figure(record['least'])} to {figure(record['most'])})"


def seconds(value: float) -> str:
    """A duration in the unit that fits."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def machine(run: Record) -> str:
    """A machine as a heading names it."""
    return f"{run['machine']['name']}, {run['machine']['cores']} cores"


def _section(run: Record) -> list[str]:
    sizes = "quick sizes" if run["quick"] else "full sizes"
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [f"## {machine(run)}: {sizes}", ""]
    lines += [f"{versions}; caches {run['machine']['caches']}.", ""]
    lines += [f"What else ran: {run['beside']}.", ""] if run.get("beside") else []
    lines += [
        "| what | size | peer | threads, ours / theirs | ours | peer | peer / ours | pairs | date | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in run["comparisons"]:
        cells = [record["what"], record["size"], record["peer"], " / ".join(map(str, record["threads"]))]
        cells += map(seconds, record["seconds"])
        cells += [spread(record), str(record["pairs"]), record["date"], record["note"]]
        lines.append(f"| {' | '.join(cells)} |")
    if quality := run.get("quality"):
        difference = f"{quality['difference']:+.4f} with a standard error of {quality['error']:.4f}"
        lines += ["", f"NDCG@10 on held-out queries at the same settings ({quality['size']}): native trees"]
        lines[-1] += (
            f" {quality['ours']:.4f}, LightGBM {quality['theirs']:.4f}; the difference is {difference}."
        )
    lines += [f"\nLeft out, {name}: {why}." for name, why in run["left_out"].items()]
    return [*lines, ""]


def results(runs: list[Record]) -> str:
    """The page of all runs."""
    head = [
        "# Headlines, measured in pairs",
        "",
        "`python -m benchmarks all` (`--quick`: smaller sizes) writes this page from RESULTS-headlines.json.",
        "Every row compares with a named peer on the same data: both sides run in turn, every second turn in",
        'the opposite order. "peer / ours" is the median over the turns of the ratio within a turn, and in',
        "brackets the least and the most; below 1 the peer is faster. Seconds are medians of the wall clock,",
        "or of the processor where the last column says so.",
        "",
    ]
    return "\n".join(head + [line for run in runs for line in _section(run)]).rstrip() + "\n"


def _shown(record: Record) -> bool:
    hidden = any(word in record["peer"] for word in NOT_IN_README)
    return record["what"].startswith(IN_README) and not hidden


def _fullest(runs: list[Record]) -> list[Record]:
    """Of each machine the run with full sizes, or the quick one where there is no other."""
    kept: dict[str, Record] = {}
    for run in sorted(runs, key=lambda run: not run["quick"]):
        kept[machine(run)] = run
    return list(kept.values())


def readme(runs: list[Record]) -> str:
    """README's table: a row for a comparison, a column for a machine."""
    runs = _fullest(runs)
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for at, run in enumerate(runs):
        for record in filter(_shown, run["comparisons"]):
            threads = " / ".join(map(str, record["threads"]))
            key = (f"{record['what']}: {record['size']}", record["peer"], threads)
            rows.setdefault(key, {})[at] = spread(record)
    columns = ["what", "peer", "threads, ours / theirs", *map(machine, runs)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    ranked = sorted(rows, key=lambda key: next(i for i, w in enumerate(IN_README) if key[0].startswith(w)))
    for key in ranked:
        cells = [rows[key].get(at, "") for at in range(len(runs))]
        lines.append(f"| {' | '.join([*key, *cells])} |")
    return "\n".join(lines)


def put_in(text: str, table: str) -> str:
    """README's text with the table between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def write(runs: list[Record]) -> None:
    """Write the JSON, the page and README's table."""
    STORE.write_text(json.dumps({"runs": runs}, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(results(runs))
    README.write_text(put_in(README.read_text(), readme(runs)))
