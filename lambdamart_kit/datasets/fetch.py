"""Downloads of catalogue sets: terms first, resumed where they broke off, checked, then unpacked."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from lambdamart_kit.datasets.catalogue import Archive, Entry, info
from lambdamart_kit.runtime.atomic_file import replace_folder
from lambdamart_kit.runtime.disk_cache import user_cache_folder
from lambdamart_kit.runtime.leftovers import remove_abandoned, unfinished_name
from lambdamart_kit.runtime.progress import Progress

_BLOCK = 1 << 18


def data_folder() -> Path:
    """Where sets are put: ``LAMBDAMART_KIT_DATA``, or ``data`` in the user's cache folder.

    Returns
    -------
    Path
        The folder, which may not exist yet.

    Examples
    --------
    >>> folder = data_folder()
    >>> isinstance(folder, Path)
    True
    """
    declared = os.environ.get("LAMBDAMART_KIT_DATA")
    return Path(declared) if declared else user_cache_folder() / "data"


def fetch(
    name: str | Entry,
    *,
    folder: str | Path | None = None,
    accept_terms: bool = False,
    retries: int = 5,
    progress: bool = True,
) -> Path:
    """Download a set of the catalogue, unless it is there already.

    A broken download goes on where it stopped, now or at the next call. The checksum is verified before
    anything is unpacked, and the set appears under its name only when it is whole.

    Parameters
    ----------
    name : str or Entry
        The set.
    folder : str or Path, optional
        Where to put it; by default ``LAMBDAMART_KIT_DATA``, or the user's cache folder.
    accept_terms : bool
        That you have read ``info(name).terms`` and agree. Nothing is downloaded otherwise.
    retries : int
        How often a broken download is taken up again.
    progress : bool
        Draw a progress bar when stderr is a terminal.

    Returns
    -------
    Path
        The set's folder, which :func:`load_folds` reads.

    Raises
    ------
    PermissionError
        If the terms are not accepted.
    FileNotFoundError
        If the set must be asked for by hand; the message says how and where to put it.
    ConnectionError
        If the download breaks off more than `retries` times.
    ValueError
        If the checksum is wrong, the catalogue has no such set, or has neither a checksum nor an https
        address for it.
    """
    entry = info(name) if isinstance(name, str) else name
    place = Path(folder) if folder is not None else data_folder()
    home = place / entry.folder
    if home.is_dir():
        return home
    archive = entry.archive
    if archive is None or archive.url is None:
        manual = entry.manual.replace("FOLDER", str(home))
        raise FileNotFoundError(
            f"{entry.name} cannot be fetched. {manual} (terms: {entry.terms}; {entry.homepage})"
        )
    if not accept_terms:
        raise PermissionError(
            f"{entry.name} comes under terms: {entry.terms} ({entry.homepage}); read them, then give "
            "accept_terms=True"
        )
    if archive.sha256 is None and not archive.url.startswith("https://"):
        raise ValueError(
            f"{entry.name} cannot be fetched: {archive.url} is not encrypted and the catalogue has no "
            "checksum for it, so anybody on the way could give another file; fetch it by hand "
            f"({entry.homepage})"
        )
    place.mkdir(parents=True, exist_ok=True)
    _unpack(_download(archive, place, retries, progress), entry, home)
    return home


def _download(archive: Archive, place: Path, retries: int, progress: bool) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    known = None if archive.sha256 is None else f"sha256:{archive.sha256}"
    resuming = ResumingDownloader(place / f"{archive.file}.part", retries, archive.bytes, progress)
    try:
        return Path(pooch.retrieve(archive.url, known, fname=archive.file, path=place, downloader=resuming))
    except ValueError as error:
        raise ValueError(
            f"{archive.url} gave another file than the catalogue's checksum says; nothing was kept ({error})"
        ) from None


class ResumingDownloader:
    """A pooch downloader that keeps what it has and asks for the rest (HTTP ``Range``).

    Parameters
    ----------
    partial : Path
        Where the bytes so far are kept between calls.
    retries : int
        How often a broken connection is taken up again within a call.
    n_bytes : int or None
        Expected size, where the server does not say.
    progress : bool
        Draw a progress bar when stderr is a terminal.
    """

    def __init__(self, partial: Path, retries: int, n_bytes: int | None, progress: bool) -> None:
        self.partial = partial
        self.retries = retries
        self.n_bytes = n_bytes
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download `url` to `output_file`."""
        title = f"fetching {self.partial.stem}"
        with Progress(title, self.n_bytes, unit="bytes", bar=self.progress) as shown:
            advance = shown.advance
            advance(self._done())
            for attempt in range(self.retries + 1):
                try:
                    if self._go_on(url, advance):
                        shutil.move(self.partial, output_file)
                        return
                except urllib.error.HTTPError as error:
                    if error.code == 416:  # nothing behind what is there: it is of another file
                        self.partial.unlink(missing_ok=True)
                    elif error.code < 500:
                        raise ConnectionError(f"{url}: {error}") from None
                except (OSError, HTTPException):
                    pass
                time.sleep(min(0.1 * 2**attempt, 10.0))
        raise ConnectionError(
            f"{url} broke off {self.retries + 1} times, last at {self._done():,} bytes; "
            "they are kept, and the next call goes on from there"
        )

    def _done(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _go_on(self, url: str, advance: Any) -> bool:
        """Ask for the rest; whether the file is complete."""
        done = self._done()
        request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206 and done:  # the server starts over
                advance(-done)
                done = 0
            total = answer.headers.get("Content-Length")
            whole = done + int(total) if total is not None else self.n_bytes
            with open(self.partial, "ab" if done else "wb") as stream:
                _copy(answer, stream, advance)
        return whole is None or self._done() == whole


def _copy(source: Any, target: IO[bytes], advance: Any) -> None:
    while block := source.read(_BLOCK):
        target.write(block)
        advance(len(block))


def _unpack(archive: Path, entry: Entry, home: Path) -> None:
    """Unpack beside the final place, then rename."""
    remove_abandoned(home.parent, home.name)
    fresh = unfinished_name(home)
    try:
        fresh.mkdir()
        if archive.suffix == ".zip":
            shutil.unpack_archive(archive, fresh)
        else:
            shutil.unpack_archive(archive, fresh, filter="data")
        replace_folder(_content(fresh, entry.inside), home)  # another process may have fetched it meanwhile
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    archive.unlink(missing_ok=True)


def _content(fresh: Path, inside: str) -> Path:
    """The folder that holds the set: as declared, else below folders that hold nothing but one folder."""
    declared = [path for path in fresh.rglob(inside) if path.is_dir()] if inside else []
    if declared:
        return declared[0]
    found, below = fresh, list(fresh.iterdir())
    while len(below) == 1 and below[0].is_dir() and not below[0].name.startswith("Fold"):
        found, below = below[0], list(below[0].iterdir())
    return found
