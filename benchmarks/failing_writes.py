"""Writers that are killed, and disks that fail under them: the attacks on writing of ``robustness.py``.

Each attack forks this process. The child writes something new over something old and is killed before one of
its file operations (also between the last write and the rename), or in the middle of a write. Or every file
may only become so large, as on a full disk. The parent then reads what is left: it must be the old content or
the new one, and what a cache or a checkpoint was for must give the same numbers as without it.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}
WROTE, NAMED_ERROR, OTHER_ERROR = 0, 3, 4  # what a child that was not killed ended in


@dataclass(frozen=True)
class Writer:
    """Something that writes to disk.

    Parameters
    ----------
    write : callable
        Writes the new content into a folder; returns nothing.
    left : callable
        What a reader finds there, to be compared to what it finds before and after a whole write.
    prepare : callable
        Puts the old content into a folder.
    must_finish : bool
        Whether a failing disk must not be an error, because what is written is for the next time only.
    """

    write: Callable[[Path], None]
    left: Callable[[Path], Any]
    prepare: Callable[[Path], None]
    must_finish: bool = False


@cache
def _data() -> Any:
    from lambdamart_kit.datasets import make_letor

    return make_letor(n_queries=4, random_state=0)


@cache
def _rankers() -> tuple[Any, Any]:
    from lambdamart_kit import LambdaMART

    data = _data()
    old, new = (LambdaMART(n_estimators=n, num_leaves=4, n_jobs=1, random_state=0) for n in (1, 3))
    return old.fit(data.X, data.y, qid=data.qid), new.fit(data.X, data.y, qid=data.qid)


def _scores_of_model(folder: Path) -> Any:
    from lambdamart_kit.rankers import load_ranker

    return load_ranker(folder / "model.lmk").predict(_data().X).tolist()


def _checkpointed(folder: Path, n_estimators: int) -> Any:
    """Scores of a fit that goes on from the checkpoint of the folder, and keeps one."""
    from lambdamart_kit import LambdaMART

    data = _data()
    kept = {"checkpoint": str(folder / "run.npz"), "checkpoint_trees": 1}
    ranker = LambdaMART(
        n_estimators=n_estimators, num_leaves=4, n_jobs=1, random_state=0, booster_params=kept
    )
    return ranker.fit(data.X, data.y, qid=data.qid).predict(data.X).tolist()


def _write_rows(folder: Path, name: str, y: float) -> None:
    from dataclasses import replace

    from lambdamart_kit.files import write_rows

    write_rows(replace(_data(), y=_data().y + y), folder / name)


def _rows(folder: Path, name: str) -> Any:
    from lambdamart_kit.files import read_rows

    found = read_rows(folder / name, n_jobs=1)
    return found.X.tolist(), found.y.tolist()


def _convert(folder: Path) -> None:
    from lambdamart_kit.files import convert

    convert(folder / "new.txt", folder / "rows.parquet", n_jobs=1)


def _prepare_conversion(folder: Path) -> None:
    _write_rows(folder, "new.txt", 2.0)
    _write_rows(folder, "rows.parquet", 1.0)


def _read_through_cache(folder: Path) -> Any:
    from lambdamart_kit.datasets import read_letor

    found = read_letor(folder / "rows.txt", cache=True, n_jobs=1)
    return found.X.tolist(), found.y.tolist(), found.qid.tolist()


def _fit_files(folder: Path) -> Any:
    from lambdamart_kit import LambdaMART

    ranker = LambdaMART(n_estimators=2, num_leaves=4, n_jobs=1, random_state=0)
    ranker.fit_files(folder / "rows.txt", work_dir=folder / "work")
    return ranker.predict(_data().X).tolist()


def _run(key: str) -> Any:
    from lambdamart_kit.bench.results import Run

    return Run(key, "linear", "Fold1", 0, {"a": 1}, {"ndcg@10": 0.5}, {"ndcg@10": [0.25] * 40}, ["q"] * 40)


def _add_runs(folder: Path, keys: tuple[str, ...]) -> None:
    from lambdamart_kit.bench.results import ResultsFile

    results = ResultsFile(folder / "runs.jsonl")
    for key in keys:
        results.add(_run(key))


def _runs(folder: Path) -> Any:
    from lambdamart_kit.bench.results import ResultsFile

    # Adding first shows that what a dead writer left does not spoil the next line.
    _add_runs(folder, ("after",))
    return sorted(run.key for run in ResultsFile(folder / "runs.jsonl"))


WRITERS = {
    "model": Writer(
        lambda folder: _rankers()[1].save(folder / "model.lmk"),
        _scores_of_model,
        lambda folder: _rankers()[0].save(folder / "model.lmk"),
    ),
    "checkpoint": Writer(
        lambda folder: _expect(_checkpointed(folder, 4), "checkpoint"),
        lambda folder: _checkpointed(folder, 4),
        lambda folder: _checkpointed(folder, 2) and None,
        must_finish=True,
    ),
    "LETOR": Writer(
        lambda folder: _write_rows(folder, "rows.txt", 2.0),
        lambda folder: _rows(folder, "rows.txt"),
        lambda folder: _write_rows(folder, "rows.txt", 1.0),
    ),
    "conversion": Writer(_convert, lambda folder: _rows(folder, "rows.parquet"), _prepare_conversion),
    "parse cache": Writer(
        lambda folder: _expect(_read_through_cache(folder), "parse cache"),
        _read_through_cache,
        lambda folder: _write_rows(folder, "rows.txt", 1.0),
        must_finish=True,
    ),
    "work folder": Writer(
        lambda folder: _expect(_fit_files(folder), "work folder"),
        _fit_files,
        lambda folder: _write_rows(folder, "rows.txt", 1.0),
    ),
    "runs": Writer(
        lambda folder: _add_runs(folder, ("second", "third")),
        _runs,
        lambda folder: _add_runs(folder, ("first",)),
    ),
}


def _expect(found: Any, name: str) -> None:
    if found not in sound(name):
        os._exit(OTHER_ERROR)


_SOUND: dict[str, list[Any]] = {}


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """Where the old contents lie, for as long as this process runs."""
    return tempfile.TemporaryDirectory()


def sound(name: str) -> list[Any]:
    """What may be found: the old content and the new, and for runs what stands between the two."""
    return _SOUND[name]


def learn() -> None:
    """Write everything once without an attack, which also compiles every kernel before the first fork."""
    folder = Path(_kept().name)
    for name, writer in WRITERS.items():
        place = folder / f"learn {name}"
        place.mkdir()
        writer.prepare(place)
        shutil.copytree(place, folder / f"sound {name}")
        _SOUND[name] = []
        if name == "runs":
            _SOUND[name] = [sorted(["after", "first", *more]) for more in ((), ("second",))]
        _SOUND[name].append(writer.left(place))  # also what the child compares to, if it reads what it wrote
        shutil.rmtree(place)
        shutil.copytree(folder / f"sound {name}", place)
        writer.write(place)
        _SOUND[name].append(writer.left(place))
        shutil.rmtree(place)


def killed(rng: random.Random, folder: Path) -> str:
    """A writer that dies before a file operation, or within a write."""
    return _attacked(rng, folder, rng.choice([_kill_before_operation, _kill_within_write]), may_die=True)


def full_disk(rng: random.Random, folder: Path) -> str:
    """A disk on which no file can become larger than a few bytes."""
    return _attacked(rng, folder, _no_larger_than, may_die=False)


def _attacked(
    rng: random.Random, folder: Path, prepare: Callable[[random.Random], None], *, may_die: bool
) -> str:
    if not _SOUND:
        learn()
    name = rng.choice(sorted(WRITERS))
    writer = WRITERS[name]
    place = folder / "attacked"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(Path(_kept().name) / f"sound {name}", place)
    child = os.fork()
    if child == 0:
        _write_and_exit(rng, writer, place, prepare)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        if not may_die or os.WTERMSIG(status) not in (signal.SIGKILL, signal.SIGXFSZ):
            raise RuntimeError(f"the {name}'s writer died of signal {os.WTERMSIG(status)}")
    elif os.WEXITSTATUS(status) == OTHER_ERROR:
        raise RuntimeError(f"the {name}'s writer ended in another error than an OSError that names a file")
    elif os.WEXITSTATUS(status) == NAMED_ERROR and writer.must_finish:
        raise RuntimeError(f"the {name}'s writer failed, where the disk should be no matter")
    left = writer.left(place)
    if left not in sound(name):
        raise RuntimeError(f"the {name} is neither the old nor the new: {str(left)[:200]}")
    return "right" if os.WIFEXITED(status) and os.WEXITSTATUS(status) == WROTE else "refused"


def _write_and_exit(
    rng: random.Random, writer: Writer, place: Path, prepare: Callable[[random.Random], None]
) -> None:
    """What the child does; it never returns."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    code = OTHER_ERROR
    with ExitStack() as stack:
        stack.callback(lambda: os._exit(code))
        warnings.simplefilter("ignore")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        prepare(rng)
        try:
            writer.write(place)
            code = WROTE
        except OSError as error:
            code = NAMED_ERROR if error.filename else OTHER_ERROR


def _kill_before_operation(rng: random.Random) -> None:
    left = rng.randrange(40)

    def count(event: str, arguments: Any) -> None:
        nonlocal left
        # Modules that are imported now are opened for reading, as nobody does who writes.
        if event not in FILE_OPERATIONS or (event == "open" and str(arguments[0]).endswith((".py", ".pyc"))):
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _kill_within_write(rng: random.Random) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _limit(rng)


def _no_larger_than(rng: random.Random) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit(rng)


def _limit(rng: random.Random) -> None:
    # Sizes of all magnitudes: the small files and the headers of the large ones count, too.
    size = int(2 ** rng.uniform(0, 15))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
