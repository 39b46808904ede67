"""Compiled code on disk: found again only if all of its source is unchanged, and never a reason to fail.

Numba keeps the compiled code of a kernel beside the kernel's file, or in a folder of the user. It does not
look at the files of other functions that the kernel calls, so after an upgrade it would go on using old code
for them. Here the stamp of cached code covers every function that the kernel reaches.

Where nothing can be written (a read-only package and no home), code goes into a private temporary folder that
is removed at exit. Where a disk is full or a cache file is damaged, the kernel is compiled and not kept.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import inspect
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np

from lambdamart_kit.compile.typing import NumbaObject

_lock = threading.Lock()
_told = False
_folder: str | None = None  # private temporary folder, once one is needed


def cached(dispatcher: NumbaObject) -> NumbaObject:
    """The dispatcher, which from now on keeps its code on disk where there is a place for it."""
    try:
        _enable(dispatcher)
    except Exception as error:  # Numba raises RuntimeError where it finds no folder to write to
        _use_temporary_folder(dispatcher, error)
    return dispatcher


def is_cached(dispatcher: NumbaObject, types: tuple[Any, ...]) -> bool:
    """Whether code for these argument types is on disk.

    Raises
    ------
    Exception
        If this Numba's cache does not show it, or the cache cannot be read.
    """
    disk = dispatcher._cache
    if isinstance(disk, _TolerantCache):
        disk.stamp()
    return any(key[0] == types for key in disk._cache_file._load_index())


def folder_in_use() -> str:
    """Folder that a second process must use to share this one's cache; empty if it finds it by itself."""
    return _folder or str(numba.config.CACHE_DIR or "")


def _enable(dispatcher: NumbaObject) -> None:
    dispatcher.enable_caching()
    disk = getattr(dispatcher, "_cache", None)
    if hasattr(disk, "_cache_file"):
        dispatcher._cache = _TolerantCache(disk, dispatcher.py_func)


def _use_temporary_folder(dispatcher: NumbaObject, error: Exception) -> None:
    """Cache in a private folder for as long as this process runs, or not at all."""
    global _folder
    with _lock:
        if _folder is None:
            _folder = _make_folder()
            place = "a temporary folder" if _folder else "memory"
            _tell(
                f"compiled kernels are kept in {place} until this process ends ({error}); set "
                "NUMBA_CACHE_DIR to a folder that can be written to, and they are compiled only once"
            )
        # Numba takes the folder from its configuration when caching is switched on, so it is set for just as
        # long as that takes; other packages' kernels go where they went before.
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = _folder
        try:
            if _folder:
                _enable(dispatcher)
        except Exception:
            _folder = ""
        finally:
            numba.config.CACHE_DIR = before


def _make_folder() -> str:
    try:
        folder = tempfile.mkdtemp(prefix="lambdamart-kit-")  # readable by this user only
    except OSError:
        return ""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a fork of this process must leave it alone
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _tell(message: str) -> None:
    """Warn once a process, whatever goes wrong how often."""
    global _told
    if not _told:
        _told = True
        warnings.warn(f"lambdamart-kit: {message}", RuntimeWarning, stacklevel=4)


class _TolerantCache:
    """Numba's cache of one function, of which no failure is the caller's, and stamped as the module says."""

    def __init__(self, disk: NumbaObject, function: FunctionType) -> None:
        self._disk = disk
        self._function = function
        self._stamped = False

    def __getattr__(self, name: str) -> NumbaObject:
        return getattr(self._disk, name)

    def stamp(self) -> None:
        """Make cached code depend on all its source; late, as callees may be defined below their kernel."""
        if not self._stamped:
            file = self._disk._cache_file
            file._source_stamp = (file._source_stamp, source_digest(self._function))
            self._stamped = True

    def load_overload(self, sig: NumbaObject, target_context: NumbaObject) -> NumbaObject:
        """Code for a signature, or None if there is none that can be used."""
        try:
            self.stamp()
            return self._disk.load_overload(sig, target_context)
        except Exception as error:
            _tell(f"a kernel's cache cannot be read and is made anew ({type(error).__name__}: {error})")
            with contextlib.suppress(Exception):
                self._disk.flush()
            return None

    def save_overload(self, sig: NumbaObject, data: NumbaObject) -> None:
        """Keep code for a signature, if that is possible."""
        try:
            self.stamp()
            self._disk.save_overload(sig, data)
        except Exception as error:
            _tell(
                f"a compiled kernel cannot be kept on disk ({type(error).__name__}: {error}); it is "
                "compiled again in the next process"
            )


def source_digest(function: FunctionType) -> str:
    """Digest of the files of all functions that a kernel reaches, and of the constants they use.

    Examples
    --------
    >>> source_digest(source_digest) == source_digest(source_digest)
    True
    """
    # Walk from the kernel to every compiled function it names, and to those that they name. Constants are
    # compiled in, so their values count as well, wherever they come from.
    files: set[str] = set()
    constants: set[str] = set()
    seen = {function}
    waiting = [function]
    while waiting:
        current = waiting.pop()
        files.add(inspect.getfile(current))
        for name, value in _used_by(current):
            callee = getattr(value, "py_func", None) or getattr(value, "_defn", None)
            if inspect.isfunction(callee) and callee not in seen:
                seen.add(callee)
                waiting.append(callee)
            elif isinstance(value, (int, float, str, tuple, np.generic)):
                constants.add(f"{name}={value!r}")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(_file_digest(path))
    digest.update("\n".join(sorted(constants)).encode())
    return digest.hexdigest()


def _used_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Global names a function uses and what they stand for now, and what it closes over."""
    names = function.__code__.co_names
    for name in names:
        value = function.__globals__.get(name)
        yield name, value
        if isinstance(value, ModuleType):  # module.function: both names are in `names`
            # Not by `hasattr`: NumPy warns of names such as `np.str`, which it has no more.
            known = vars(value)
            yield from ((inside, known[inside]) for inside in names if inside in known)
    for cell in function.__closure__ or ():
        yield "closure", cell.cell_contents


@cache
def _file_digest(path: str) -> bytes:
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:  # a function that was typed in, not read from a file
        return path.encode()
