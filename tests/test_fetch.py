"""Downloads against a server on this machine: whole, broken, resumed, tampered with, and by hand."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lambdamart_kit.datasets import fetch, info, load_folds
from lambdamart_kit.datasets.catalogue import Archive

FILES = {
    f"Fold1/{role}.txt": f"1 qid:1 1:0.5\n0 qid:{k} 1:2\n" for k, role in enumerate(["train", "vali", "test"])
}


def zipped(prefix=""):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(prefix + name, text)
        archive.writestr(prefix + "notes.txt", "x" * 50_000)
    return stream.getvalue()


def tarred(prefix=""):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


class Server:
    """Serves one file; `breaks` lists after how many bytes the next answers break off."""

    def __init__(self):
        self.content = b""
        self.breaks = []
        self.ranges = []
        self.resumes = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(wanted[1]) if wanted and outer.resumes else 0
                outer.ranges.append(start)
                if start > len(outer.content):
                    self.send_error(416)
                    return
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.breaks.pop(0)] if outer.breaks else body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/set.zip"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def entry_for(server, content, *, file="set.zip", sha256=None, **changes):
    server.content = content
    archive = Archive(file, server.url, sha256 or hashlib.sha256(content).hexdigest(), len(content))
    return replace(info("MSLR-WEB10K"), archive=archive, folder="SET", **changes)


@pytest.mark.parametrize("prefix", ["", "MSLR/", "a/b/"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_fetch_unpacks_to_where_load_folds_reads(server, tmp_path, pack, prefix):
    entry = entry_for(server, pack(prefix), file="set.zip" if pack is zipped else "set.tar.gz")
    home = fetch(entry, folder=tmp_path, accept_terms=True)
    assert home == tmp_path / "SET"
    (fold,) = load_folds(home)
    assert (fold.name, len(fold.train)) == ("Fold1", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["SET"]
    assert (
        fetch(entry, folder=tmp_path) == home
    )  # what is there is not fetched again, nor are terms asked for
    assert len(server.ranges) == 1


def test_declared_folder_inside_the_archive(server, tmp_path):
    entry = entry_for(server, zipped("istella-s/sample/"), inside="sample")
    assert (fetch(entry, folder=tmp_path, accept_terms=True) / "Fold1" / "train.txt").exists()


def test_broken_connections_are_taken_up_where_they_stopped(server, tmp_path):
    entry = entry_for(server, zipped())
    server.breaks = [10_000, 0, 25_000]
    fetch(entry, folder=tmp_path, accept_terms=True)
    assert server.ranges == [0, 10_000, 10_000, 35_000]


def test_the_next_call_goes_on(server, tmp_path):
    entry = entry_for(server, zipped())
    server.breaks = [20_000, 100]
    with pytest.raises(ConnectionError, match="broke off 2 times, last at 20,100 bytes; they are kept"):
        fetch(entry, folder=tmp_path, accept_terms=True, retries=1)
    assert not (tmp_path / "SET").exists()
    fetch(entry, folder=tmp_path, accept_terms=True)
    assert server.ranges == [0, 20_000, 20_100]


def test_servers_that_cannot_resume(server, tmp_path):
    entry = entry_for(server, zipped())
    server.breaks, server.resumes = [10_000], False
    fetch(entry, folder=tmp_path, accept_terms=True)
    assert server.ranges == [0, 0]


def test_what_is_left_of_another_file_is_dropped(server, tmp_path):
    entry = entry_for(server, zipped())
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1_000_000)
    fetch(entry, folder=tmp_path, accept_terms=True)
    assert server.ranges == [1_000_000, 0]


def test_tampered_file_is_refused_and_leaves_nothing(server, tmp_path):
    content = zipped()  # made once: it holds the time
    entry = entry_for(server, content)
    server.content = content[:-100] + b"\0" * 100
    with pytest.raises(ValueError, match="gave another file than the catalogue's checksum says"):
        fetch(entry, folder=tmp_path, accept_terms=True)
    assert list(tmp_path.iterdir()) == []
    server.content = content
    assert fetch(entry, folder=tmp_path, accept_terms=True).is_dir()


def test_missing_file(server, tmp_path):
    entry = entry_for(server, zipped())
    gone = replace(entry, archive=replace(entry.archive, url="http://127.0.0.1:9/none.zip"))
    with pytest.raises(ConnectionError, match="broke off 1 times"):
        fetch(gone, folder=tmp_path, accept_terms=True, retries=0)


def test_terms_come_first(server, tmp_path):
    with pytest.raises(PermissionError, match="comes under terms: Microsoft Research licence agreement"):
        fetch(entry_for(server, zipped()), folder=tmp_path)
    assert server.ranges == []
    assert list(tmp_path.iterdir()) == []


def test_sets_that_must_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMBDAMART_KIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched\. Ask for C14 at the homepage") as caught:
        fetch("Yahoo-LTRC-set1", accept_terms=True)
    assert str(tmp_path / "Yahoo-LTRC-set1") in str(caught.value)
    (tmp_path / "Yahoo-LTRC-set1").mkdir()
    assert fetch("Yahoo-LTRC-set1") == tmp_path / "Yahoo-LTRC-set1"
