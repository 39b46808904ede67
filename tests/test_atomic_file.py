"""Files that appear whole: many writers of one path, killed writers, full and missing folders."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from lambdamart_kit.runtime.atomic_file import atomic_file, replace_folder
from lambdamart_kit.runtime.disk_cache import new_entry, read_arrays, read_notes
from lambdamart_kit.runtime.file_lock import take_lock
from lambdamart_kit.runtime.leftovers import scratch_folder


def write(path, content):
    with atomic_file(path) as stream:
        stream.write(content)


def test_an_error_keeps_the_old_content_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file"
    write(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as stream:
        stream.write(b"half" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_permissions_are_those_of_any_new_file_or_of_the_file_replaced(tmp_path):
    path, ordinary = tmp_path / "file", tmp_path / "ordinary"
    write(path, b"1")
    ordinary.write_bytes(b"1")
    assert path.stat().st_mode == ordinary.stat().st_mode
    path.chmod(0o640)
    write(path, b"2")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(("name", "kind"), [("no/file", FileNotFoundError), ("folder", IsADirectoryError)])
def test_what_cannot_be_written_is_named(tmp_path, name, kind):
    (tmp_path / "folder").mkdir()
    with pytest.raises(kind, match=f"{tmp_path}/{name}"):
        write(tmp_path / name, b"")


def test_a_full_disk_names_the_file_asked_for(tmp_path):
    path = tmp_path / "model.lmk"
    with pytest.raises(OSError, match=r"model\.lmk") as caught, atomic_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert "part" not in str(caught.value)


def test_a_short_write_of_numpy_names_the_entry(tmp_path):
    with pytest.raises(OSError, match="entry") as caught, new_entry(tmp_path / "entry"):
        raise OSError("22211 requested and 7136 written")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def age(path, seconds=7200):
    long_ago = time.time() - seconds
    os.utime(path, (long_ago, long_ago))


def test_leftovers_of_killed_writers_go_but_not_those_of_live_ones(tmp_path):
    dead, alive, other, foreign = (
        tmp_path / name
        for name in (
            f".file.{'0' * 16}.part",
            f".file.{'1' * 16}.part",
            f".fil.{'0' * 16}.part",
            ".file.12.part",
        )
    )
    for leftover in (dead, alive, other, foreign):
        leftover.write_bytes(b"half")
    for leftover in (dead, other, foreign):
        age(leftover)
    write(tmp_path / "file", b"whole")
    assert not dead.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"file", alive.name, other.name, foreign.name}


def test_a_cache_removes_what_killed_writers_of_any_entry_left(tmp_path):
    dead, alive = tmp_path / f".old.{'0' * 16}.part", tmp_path / f".other.{'1' * 16}.part"
    for leftover in (dead, alive):
        leftover.mkdir()
        (leftover / "a.npy").touch()
        age(leftover)
    age(dead / "a.npy")
    with new_entry(tmp_path / "entry") as folder:
        np.save(folder / "a.npy", np.arange(3))
    assert not dead.exists()
    assert alive.exists(), "a file in it is being written"


def test_scratch_of_a_killed_process_goes_but_not_that_of_a_live_one(tmp_path):
    """The live one stands still for hours, while trees grow from what is in it."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from lambdamart_kit.runtime.leftovers import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'bins').mkdir()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    (dead,) = tmp_path.iterdir()
    with scratch_folder(tmp_path) as mine:
        assert dead.exists(), "it may belong to a process that has just begun"
        age(dead)
        age(mine)
        with scratch_folder(tmp_path):
            assert not dead.exists()
            assert mine.exists()
    assert os.listdir(tmp_path) == []


def test_one_process_at_a_time_holds_a_lock(tmp_path):
    path = tmp_path / "lock"
    first = take_lock(path)
    assert first.is_held
    assert take_lock(path) is None
    first.release()
    second = take_lock(path)
    assert second.is_held
    first.release()  # no longer its own
    assert take_lock(path) is None
    second.release()
    assert os.listdir(tmp_path) == []


def in_threads(work, n=4):
    errors = []

    def guarded(i):
        try:
            work(i)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_many_writers_of_one_file_never_tear_it(tmp_path):
    path = tmp_path / "file"

    def work(i):
        for _ in range(50):
            write(path, bytes([i]) * 5000)
            read = path.read_bytes()
            assert len(read) == 5000
            assert len(set(read)) == 1

    assert in_threads(work) == []
    assert os.listdir(tmp_path) == ["file"]


def test_many_writers_of_one_entry(tmp_path):
    def work(i):
        for _ in range(50):
            with new_entry(tmp_path / "entry", {"writer": i}) as folder:
                np.save(folder / "a.npy", np.full(10, i))
            notes = read_notes(tmp_path / "entry")
            arrays = None if notes is None else read_arrays(tmp_path / "entry", notes)
            if arrays is not None:
                assert len(set(arrays["a"].tolist())) == 1

    assert in_threads(work) == []
    assert os.listdir(tmp_path) == ["entry"]


def test_replacing_a_folder_that_has_content(tmp_path):
    for name in ("fresh", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace_folder(tmp_path / "fresh", tmp_path / "old")
    assert os.listdir(tmp_path) == ["old"]
    assert os.listdir(tmp_path / "old") == ["fresh"]


def test_a_damaged_entry_counts_as_missing(tmp_path):
    entry = tmp_path / "entry"
    with new_entry(entry) as folder:
        np.save(folder / "a.npy", np.arange(10))
    notes = read_notes(entry)
    np.testing.assert_array_equal(read_arrays(entry, notes)["a"], np.arange(10))
    content = bytearray((entry / "a.npy").read_bytes())
    content[-1] ^= 1
    (entry / "a.npy").write_bytes(content)
    assert read_arrays(entry, notes) is None
    (entry / "meta.json").write_text("[" * 100_000)
    assert read_notes(entry) is None
