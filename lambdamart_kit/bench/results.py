"""What a benchmark remembers: one line of JSON per fit, appended as it happens.

A run is identified by a hash of everything that can change its numbers, so a results file can hold many
benchmarks, and a benchmark that was stopped continues where it stood.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.runtime.atomic_file import named_after
from lambdamart_kit.runtime.file_lock import locked

_FIRST_BYTES = b'{"key": "'


@dataclass(frozen=True)
class Run:
    """One fit of one model with one setting on one fold, and everything a report needs of it.

    Parameters
    ----------
    key : str
        :func:`run_key` of what was asked.
    model, fold : str
        Canonical model spec; name of the fold.
    setting : int
        Which draw from the model's search space; 0 is the defaults.
    params : dict
        Parameters of that draw.
    valid : dict
        Metric name to its mean on the validation queries (blank queries skipped): all that tuning may see.
    test : dict
        Metric name to the value of each test query; None for a blank query.
    test_qid : list of str
        Ids of those queries.
    learning_curve : dict
        The estimator's ``evals_result_``.
    n_iterations : int or None
        Trees or epochs in the model.
    fit_seconds : float
        Wall clock, after a warm-up fit on a few queries; of predicting, the fastest of three.
    fit_times : dict
        Part of the fit to its seconds, as the estimator's ``fit_times_`` has it: ``"gradient"`` is there when
        the kit computed the gradients, and not when a library did.
    predict_seconds : float
        Wall clock, after a warm-up fit on a few queries; of predicting, the fastest of three.
    fit_memory : int or None
        Bytes by which the peak resident memory of a process of its own grew during fit.
    n_test_documents : int
        Rows predicted.
    test_scores : str
        Scores of the test rows, as float64 in base64; empty unless they were asked for.
    error : str
        Why there are no numbers; empty when there are.
    environment : dict
        Versions and core count.

    Examples
    --------
    >>> run = Run("key", "linear", "Fold1", 0, {}, test={"mrr": [1.0, None]}, test_qid=["a", "b"])
    >>> run.per_query("mrr").tolist()
    [1.0, nan]
    """

    key: str
    model: str
    fold: str
    setting: int
    params: dict[str, Any]
    valid: dict[str, float] = field(default_factory=dict)
    test: dict[str, list[float | None]] = field(default_factory=dict)
    test_qid: list[str] = field(default_factory=list)
    learning_curve: dict[str, Any] = field(default_factory=dict)
    n_iterations: int | None = None
    fit_seconds: float = 0.0
    fit_times: dict[str, float] = field(default_factory=dict)
    predict_seconds: float = 0.0
    fit_memory: int | None = None
    n_test_documents: int = 0
    test_scores: str = ""
    error: str = ""
    environment: dict[str, Any] = field(default_factory=dict)

    def per_query(self, metric: str) -> FloatArray:
        """Test values of `metric`, NaN for blank queries.

        Parameters
        ----------
        metric : str
            Name of one of the metrics that were measured.

        Returns
        -------
        (n_queries,) array
            In the order of `test_qid`.
        """
        return np.array([np.nan if v is None else v for v in self.test[metric]], dtype=np.float64)

    def scores(self) -> FloatArray:
        """Scores of the test rows; empty if they were not kept.

        Returns
        -------
        (n_samples,) float64
            In the order of the test rows.
        """
        return np.frombuffer(base64.b64decode(self.test_scores), dtype="<f8")

    def to_json(self) -> str:
        """One line, without the line break.

        Returns
        -------
        str
            JSON.
        """
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Inverse of :meth:`to_json`; fields that this version does not know are an error.

        Parameters
        ----------
        line : str
            What `to_json` made.

        Returns
        -------
        Run
            An equal run.
        """
        try:
            content = json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        known = {f.name for f in fields(cls)}
        needed = {"key", "model", "fold", "setting", "params"}
        if not isinstance(content, dict) or not needed <= set(content) <= known:
            raise ValueError("not a benchmark run of this version of lambdamart-kit")
        wrong = [name for name, value in content.items() if not _FITS[name](value)]
        if wrong:
            raise ValueError(f"{', '.join(map(repr, wrong))} cannot hold such a value")
        return cls(**content)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_query_values(value: Any) -> bool:
    """Whether this is a metric's value of each query, None for a blank one, for every metric."""
    lists = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(v, list) and all(x is None or _is_number(x) for x in v) for v in lists)


def _are_scores(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) % 8 == 0
    except ValueError:
        return False


# What each field of a run may hold: a results file may be damaged, or edited by hand.
_FITS: dict[str, Callable[[Any], bool]] = {
    "key": _is_text,
    "model": _is_text,
    "fold": _is_text,
    "setting": _is_count,
    "params": _is_object,
    "valid": _are_numbers,
    "test": _are_query_values,
    "test_qid": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "learning_curve": _is_object,
    "n_iterations": lambda value: value is None or _is_count(value),
    "fit_seconds": _is_number,
    "fit_times": _are_numbers,
    "predict_seconds": _is_number,
    "fit_memory": lambda value: value is None or _is_count(value),
    "n_test_documents": _is_count,
    "test_scores": _are_scores,
    "error": _is_text,
    "environment": _is_object,
}


def run_key(asked: Mapping[str, Any]) -> str:
    """Hash of everything that can change a run's numbers.

    Examples
    --------
    >>> run_key({"model": "lightgbm", "seed": 0}) == run_key({"seed": 0, "model": "lightgbm"})
    True
    """
    text = json.dumps(asked, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def chosen(runs: Sequence[Run], metric: str) -> list[Run]:
    """For each model and fold the run that is best on the validation queries (the first among equals).

    Failed runs are never chosen.
    """
    best: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.error:
            continue
        if metric not in run.valid or metric not in run.test:
            raise ValueError(
                f"the run of {run.model!r} on {run.fold!r} has no {metric!r}; remove its line from the file "
                "of results, and it is made again"
            )
        held = best.setdefault((run.model, run.fold), run)
        if run.valid[metric] > held.valid[metric]:
            best[run.model, run.fold] = run
    return list(best.values())


class ResultsFile:
    """Runs in memory and, given a path, in a JSONL file that is read first and appended to.

    A last line cut short by a crash is left out, and removed when the next one is added; anything else that
    is not a run is an error, so that no other file is ever appended to by mistake. Several threads and
    processes may add to one file.

    Parameters
    ----------
    path : str, Path or None
        None keeps runs in memory only.

    Raises
    ------
    ValueError
        If the file holds something else than runs.

    Examples
    --------
    >>> results = ResultsFile()
    >>> results.add(Run("key of the run", "linear", "Fold1", 0, {}))
    >>> len(results), results.get("key of the run").model
    (1, 'linear')
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._runs: dict[str, Run] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs.values())

    def get(self, key: str, *, with_scores: bool = False) -> Run | None:
        """The run with this key if it finished, and has its scores if they are needed.

        A run that failed is worth another try.

        Parameters
        ----------
        key : str
            :func:`run_key` of what was asked.
        with_scores : bool
            Whether the scores of the test rows are needed.

        Returns
        -------
        Run or None
            None if there is nothing that can be used.
        """
        run = self._runs.get(key)
        if run is None or run.error or (with_scores and not run.test_scores):
            return None
        return run

    def add(self, run: Run) -> None:
        """Remember a run and append it to the file at once.

        Parameters
        ----------
        run : Run
            A run that finished or failed.

        Raises
        ------
        OSError
            If the file cannot be written, for example because the disk is full; it is then as it was.
        """
        line = (run.to_json() + "\n").encode()
        self._runs[run.key] = run
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with named_after(self.path, self.path):
                self._append(self.path, line)

    def _append(self, path: Path, line: bytes) -> None:
        """Append all of a line, or nothing: half of one would spoil the next."""
        with path.open("a+b", buffering=0) as file, locked(file):
            _drop_half_line(file, path)
            start = file.seek(0, os.SEEK_END)
            written = 0
            try:
                while written < len(line):  # a disk that is nearly full takes a part
                    written += file.write(line[written:])
            except BaseException:
                if file.tell() == start + written:  # else another process has written behind it
                    file.truncate(start)
                raise

    def _read(self, path: Path) -> None:
        with path.open("rb") as file, locked(file, shared=True):
            content = file.read()
        complete = _complete_lines(content, path)
        for number, line in enumerate(content[:complete].split(b"\n")[:-1], start=1):
            try:
                run = Run.from_json(line.decode())
            except (ValueError, TypeError) as error:
                raise ValueError(f"{_not_ours(path, number)} ({error})") from None
            self._runs[run.key] = run


def _complete_lines(content: bytes, path: Path) -> int:
    """Bytes up to the end of the last whole line; what follows must be the beginning of a run."""
    complete = content.rfind(b"\n") + 1
    tail = content[complete:]
    if tail and not (tail.startswith(_FIRST_BYTES) or _FIRST_BYTES.startswith(tail)):
        raise ValueError(_not_ours(path, content[:complete].count(b"\n") + 1))
    return complete


def _drop_half_line(file: IO[bytes], path: Path) -> None:
    """Remove what a writer that died has left of its line.

    Only who is about to write, and keeps others out, may do so: to a reader the line that another one is just
    writing looks the same.
    """
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    file.truncate(_complete_lines(content, path))


def _not_ours(path: Path, number: int) -> str:
    return f"'out' must be a new file or results of lambdamart-kit bench; {path}, line {number}, is no run"
