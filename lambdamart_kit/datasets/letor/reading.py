"""LETOR text to arrays: cut the file into blocks of whole lines, count, allocate, fill on all threads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, Features, Float32Array, IndexArray
from lambdamart_kit.datasets.errors import LetorFormatError
from lambdamart_kit.datasets.letor import parsing
from lambdamart_kit.datasets.letor.byte_scan import PADDING
from lambdamart_kit.datasets.letor.text_file import Text
from lambdamart_kit.runtime import threads as parallel

NAME_MODES = ("none", "id", "comment")

_INDEX = re.compile(rb"([0-9]+):")
_WHOLE_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,17}")
_REASONS = {
    parsing.LABEL: "the label must be a number",
    parsing.NO_QID: "'qid:' must follow the label, as in '2 qid:10 1:0.5'; this line has none",
    parsing.UNEXPECTED_QID: "'query_file' gives the queries, but this line has 'qid:'; leave one of them out",
    parsing.EMPTY_QID: "'qid:' must be followed by the query's id",
    parsing.PAIR: "expected 'index:value'",
    parsing.ZERO: (
        "feature indices count from 1; this one is 0; set 'zero_based' if those of the file count from 0"
    ),
    parsing.REPEATED: "a feature must stand only once in a line; this one is repeated",
    parsing.DESCENDING: (
        "feature indices must increase along the line; this one is below its predecessor; set 'unordered' if "
        "they may stand in any order"
    ),
    parsing.HUGE: f"a feature index must not exceed {parsing.MAX_INDEX}",
    parsing.VALUE: "the value must be a number",
    parsing.FINITE: "values must be finite and fit float32; leave a missing feature out, or set 'clip'",
    parsing.BEYOND: "the feature index exceeds 'n_features'",
    parsing.CHANGED: "the file changed while it was read",
}
_WHOLE_LINE = (parsing.NO_QID, parsing.UNEXPECTED_QID)
_BOMB_BYTES = 64 << 20  # a dense array larger than this,
_BOMB_RATIO = 100  # and than so many times its text, is a slip or an attack, not a data set


@dataclass(frozen=True)
class ReadOptions:
    """How to read: see :func:`lambdamart_kit.datasets.read_letor`."""

    has_qid: bool = True
    docid: str = "id"
    sparse: bool = False
    missing: float = 0.0
    n_features: int | None = None
    clip: float | None = None
    zero_based: bool = False
    unordered: bool = False

    @property
    def style(self) -> parsing.Style:
        """The same for the kernels."""
        mode = NAME_MODES.index(self.docid)
        return parsing.Style(int(self.has_qid), mode, int(not self.zero_based), int(self.unordered))


@dataclass
class Parsed:
    """The arrays of a file: `X` dense or ``(data, indices, indptr)``, `qid` None where lines have none."""

    X: Features
    y: Float32Array
    qid: Array | None
    docid: Array | None
    n_features: int


def parse_text(text: Text, options: ReadOptions, n_threads: int, advance: Callable[[int], None]) -> Parsed:
    """Read all of `text`; `advance` is told of bytes done."""
    reader = _Reader(text, options)
    if not options.sparse and reader.guess(n_threads):
        reader.allocate()
        if reader.fill(n_threads, advance) and reader.guessed_right():
            reader.raise_first_error()
            return reader.finish()
        advance(-text.size)
        reader = _Reader(text, options)
    reader.scan(n_threads)
    reader.allocate()
    reader.fill(n_threads, advance)
    reader.raise_first_error()
    return reader.finish()


def count_features(text: Text, options: ReadOptions, n_threads: int) -> int:
    """Columns that `text` has: its largest feature index, counted from 1."""
    if options.n_features is not None:
        return options.n_features
    reader = _Reader(text, options)
    reader.scan(n_threads)
    return reader.largest_index()


class _Reader:
    """One pass that counts and one that fills, each over blocks dealt out to threads.

    Counting costs a third of the time, so dense files are first read on a guess: every line is a row, and
    the largest index of the first block is the largest of all. Where that fails, and for CSR, the exact
    count follows.
    """

    def __init__(self, text: Text, options: ReadOptions) -> None:
        self.text = text
        self.options = options
        self.cuts = text.cuts()
        self.n_blocks = len(self.cuts) - 1
        self.counts = np.zeros((self.n_blocks, parsing.STATE_SIZE), np.int64)
        self.states = np.zeros_like(self.counts)
        self.runs: list[list[tuple[int, int, bytes]]] = [[] for _ in range(self.n_blocks)]
        self.names: list[list[str]] = [[] for _ in range(self.n_blocks)]
        self.errors: list[LetorFormatError | None] = [None] * self.n_blocks

    def each_block(self, work: Callable[[int, Array], None], n_threads: int) -> None:
        """Call ``work(block, text)`` for every block; a thread stops at its first error."""
        largest = max(np.diff(self.cuts), default=0)

        def deal(thread: int, n: int) -> None:
            buffer = np.empty(largest + 1 + PADDING, np.uint8)
            for block in range(thread, self.n_blocks, n):
                work(block, self.text.block(self.cuts[block], self.cuts[block + 1], buffer))
                if self.errors[block] is not None:
                    return

        parallel.run(deal, max(1, min(n_threads, self.n_blocks)))

    def guess(self, n_threads: int) -> bool:
        """Count lines instead of rows; whether there is anything to go by."""

        def count(block: int, text: Array) -> None:
            if block == 0:
                parsing.scan_block(text, self.counts[0])
            self.counts[block, parsing.ROWS] = parsing.count_lines(text)

        self.each_block(count, n_threads)
        self._lay_out()
        return bool(self.counts[:1, parsing.LAST_MAX].any())

    def guessed_right(self) -> bool:
        """Whether the lines that were counted are the rows that were found."""
        return np.array_equal(self.states[:, parsing.ROWS], self.counts[:, parsing.ROWS])

    def scan(self, n_threads: int) -> None:
        """Count exactly."""
        self.each_block(lambda block, text: parsing.scan_block(text, self.counts[block]), n_threads)
        self._lay_out()
        if not self.row_ptr[-1]:
            raise LetorFormatError("no rows: the file is empty", path=self.text.path)

    def _lay_out(self) -> None:
        self.row_ptr = np.concatenate(([0], np.cumsum(self.counts[:, parsing.ROWS])))
        self.entry_ptr = np.concatenate(([0], np.cumsum(self.counts[:, parsing.NONZEROS])))

    def largest_index(self) -> int:
        """Of all features that were counted, counted from 1."""
        return int(self.counts[:, parsing.LAST_MAX].max()) + int(self.options.zero_based)

    def allocate(self) -> None:
        """The arrays at their final size."""
        options, n_rows = self.options, int(self.row_ptr[-1])
        largest = self.largest_index()
        if largest > parsing.MAX_INDEX:
            raise self._widest(_REASONS[parsing.HUGE])
        self.n_features = options.n_features if options.n_features is not None else largest
        n_bytes = 4 * n_rows * self.n_features
        dense = not options.sparse
        if dense and options.n_features is None and n_bytes > max(_BOMB_BYTES, _BOMB_RATIO * self.text.size):
            raise self._widest(
                f"a dense array of {n_bytes / 1e9:,.1f} GB would follow from this feature index; "
                "give sparse=True, or n_features= if it is right"
            )
        shape = (n_rows if dense else 0, self.n_features if dense else 0)
        zeros = options.missing == 0  # which the system hands out for free
        self.X = np.zeros(shape, np.float32) if zeros else np.full(shape, options.missing, np.float32)
        self.y = np.empty(n_rows, np.float32)
        n_entries = int(self.entry_ptr[-1]) if options.sparse else 0
        self.data = np.empty(n_entries, np.float32)
        self.indices = np.empty(n_entries, np.int32)
        self.row_stop = np.empty(n_rows if not dense or not self.n_features else 0, np.int64)

    def _widest(self, reason: str) -> LetorFormatError:
        """The error for the largest feature index of the file."""
        block = int(np.argmax(self.counts[:, parsing.LAST_MAX]))
        position = self.cuts[block]
        largest, at = -1, position
        for line in self.text.read(position, self.cuts[block + 1]).tobytes().split(b"\n"):
            for found in _INDEX.finditer(line.partition(b"#")[0]):
                if int(found[1][:20]) > largest:
                    largest, at = int(found[1][:20]), position + found.start()
            position += len(line) + 1
        return self.text.error(reason, at)

    def fill(self, n_threads: int, advance: Callable[[int], None]) -> bool:
        """Parse every block into its place; whether there was no error."""

        def work(block: int, text: Array) -> None:
            self.errors[block] = self._fill_block(block, text)
            advance(self.cuts[block + 1] - self.cuts[block])

        self.each_block(work, n_threads)
        return not any(self.errors)

    def raise_first_error(self) -> None:
        """Raise the error that comes first in the file, or what the last line lacks."""
        for error in self.errors:
            if error is not None:
                raise error
        self._check_last_line()

    def _fill_block(self, block: int, text: Array) -> LetorFormatError | None:
        options, start = self.options, self.cuts[block]
        rows = slice(self.row_ptr[block], self.row_ptr[block + 1])
        entries = slice(self.entry_ptr[block], self.entry_ptr[block + 1])
        n_rows = rows.stop - rows.start
        runs = np.empty((n_rows, 3), np.int64)
        style = options.style
        names = np.empty(len(text) + n_rows if style.name_mode else 0, np.uint8)
        X = self.X[rows]
        y, data, indices, stops = self.y[rows], self.data[entries], self.indices[entries], self.row_stop[rows]
        room = 64
        while True:
            doubts = np.empty((room, 3), np.int64)
            state = np.zeros(parsing.STATE_SIZE, np.int64)
            seen = np.zeros(self.n_features if options.unordered else 0, np.int64)
            target = parsing.Rows(y, X, data, indices, stops, seen)
            found = parsing.Found(runs, names, doubts, state)
            parsing.parse_block(text, style, self.n_features, target, found)
            if state[parsing.ERROR] != parsing.MORE_DOUBTS:
                break
            room *= 16
        self.states[block] = state
        doubtful = self._settle(text, doubts[: state[parsing.DOUBTS]], rows, X, self.data[entries])
        bad_comment = self._keep_names(block, text, names[: state[parsing.NAMES]].tobytes())
        if bad_comment is not None:
            return bad_comment
        code, at = int(state[parsing.ERROR]), int(state[parsing.START])
        if doubtful is not None and (not code or doubtful < at):
            code, at = parsing.FINITE, doubtful
        if code:
            reason = _REASONS[code] + (f" = {self.n_features}" if code == parsing.BEYOND else "")
            return self.text.error(reason, start + at, whole_line=code in _WHOLE_LINE)
        first_row = int(rows.start)
        of_runs = runs[: state[parsing.RUNS]].tolist()
        self.runs[block] = [(first_row + row, start + a, text[a:b].tobytes()) for row, a, b in of_runs]
        return None

    def _settle(self, text: Array, doubts: Array, rows: slice, X: Array, data: Array) -> int | None:
        """Let Python round the doubtful numbers; the position of one that does not fit float32, else None."""
        for start, stop, place in doubts.tolist():
            token = text[start:stop].tobytes()
            try:
                value = float(token[token.find(b":") + 1 :])
            except ValueError:  # such as nan0.5
                return int(start)
            if place >= 0 and self.options.clip is not None:
                value = float(np.clip(value, -self.options.clip, self.options.clip))  # NaN stays
            with np.errstate(over="ignore"):
                rounded = np.float32(value)
            if not (np.isfinite(rounded) or (np.isnan(rounded) and self.options.clip is not None)):
                return int(start)
            if place < 0:
                self.y[rows.start - 1 - place] = rounded
            elif X.shape[1]:
                X[divmod(place, X.shape[1])] = rounded
            else:
                data[place] = rounded
        return None

    def _keep_names(self, block: int, text: Array, names: bytes) -> LetorFormatError | None:
        try:
            decoded = names.decode()
        except UnicodeDecodeError:
            decoded = "\0"
        if "\0" in decoded:
            return self._bad_comment(self.cuts[block], text.tobytes(), names)
        self.names[block] = decoded.split("\n")[:-1]
        return None

    def _bad_comment(self, position: int, content: bytes, names: bytes) -> LetorFormatError:
        """The error of the first row whose kept part of the comment is not text; the rest may be anything."""
        kept = iter(names.split(b"\n"))
        for line in content.split(b"\n"):
            before, _, comment = line.partition(b"#")
            if before.strip(b" \t\r"):  # a row, so it has a name
                name = next(kept)
                if b"\0" in name or name.decode(errors="ignore").encode() != name:
                    break
            position += len(line) + 1
        return self.text.error("the comment is not UTF-8 text", position + len(line) - len(comment))

    def _check_last_line(self) -> None:
        """A last line without newline that stops short of where all others stop has been cut."""
        if self.text.terminated or self.n_blocks < 2 or not self.states[-1, parsing.ROWS]:
            return
        earlier, last = self.states[:-1], self.states[-1]
        earlier = earlier[earlier[:, parsing.ROWS] > 0]
        rows = earlier[:, parsing.ROWS].sum()
        if not rows:
            return
        ends = earlier[:, parsing.LAST_MIN].min(), earlier[:, parsing.LAST_MAX].max()
        uniform = ends[0] == ends[1] and last[parsing.LAST_MAX] != ends[1]
        commented = earlier[:, parsing.COMMENTS].sum() == rows and not last[parsing.COMMENTS]
        if uniform or commented:
            what = f"feature {ends[1]}" if uniform else "a comment"
            raise self.text.error(f"every other line ends in {what}", self.cuts[-2], whole_line=True)

    def finish(self) -> Parsed:
        """Query ids, names and CSR offsets from their pieces."""
        X: Features = self.X
        if self.options.sparse:
            stops = self.row_stop + np.repeat(self.entry_ptr[:-1], np.diff(self.row_ptr))
            # One integer type for both, or SciPy copies them.
            kind = np.int32 if len(self.data) <= np.iinfo(np.int32).max else np.int64
            X = self.data, self.indices.astype(kind, copy=False), np.concatenate(([0], stops)).astype(kind)
        names = [name for block in self.names for name in block]
        docid = _text_array(names) if any(names) else None
        qid = self._query_ids() if self.options.has_qid else None
        return Parsed(X, self.y, qid, docid, self.n_features)

    def _query_ids(self) -> Array:
        runs = [run for block in self.runs for run in block]
        starts = np.array([row for row, _, _ in runs], np.int64)
        lengths = np.diff(np.append(starts, len(self.y)))
        tokens = [token for _, _, token in runs]
        if all(_WHOLE_NUMBER.fullmatch(token) for token in tokens):
            return np.repeat(np.array([int(token) for token in tokens], np.int64), lengths)
        ids = []
        for _, position, token in runs:
            name = token.decode(errors="replace")
            if not name.isprintable() or "\ufffd" in name:
                raise self.text.error("the query id is not printable UTF-8 text", position)
            ids.append(name)
        return np.repeat(_text_array(ids), lengths)


def _text_array(names: list[str]) -> Array:
    """Fixed-width strings, or objects where one long name among short ones would inflate the array."""
    widest, total = max(map(len, names)), sum(map(len, names))
    inflated = widest * len(names) > 4 * total + 1_000_000
    return np.array(names, dtype=object if inflated else str)


def read_query_sizes(text: Text, n_rows: int | None = None) -> IndexArray:
    """Query of each row, 1, 2, ..., from a file with one query size a line; `n_rows` is their sum."""
    content = text.read(0, text.size).tobytes()
    sizes = []
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            if not line.strip().isdigit() or len(line) > 18:
                shown = line[:60].decode(errors="backslashreplace")
                reason = "expected the number of rows of one query"
                raise LetorFormatError(reason, path=text.path, line=number, text=shown)
            sizes.append(int(line))
    if n_rows is not None and sum(sizes) != n_rows:
        reason = f"query sizes must add up to the {n_rows:,} rows of the data; they add up to {sum(sizes):,}"
        raise LetorFormatError(reason, path=text.path)
    return np.repeat(np.arange(1, len(sizes) + 1), sizes)
