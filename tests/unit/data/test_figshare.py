"""Downloads from a local server that speaks the part of the figshare API that is used, with its failures."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import tracemalloc
from collections import namedtuple
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import numpy as np
import pytest

from dielectric_gnn.data.download import figshare
from dielectric_gnn.data.download.figshare import _CheckedRedirects, _list_files, _open, _Retry, download_article
from dielectric_gnn.data.download.md5_lists import check_listed
from dielectric_gnn.utils.errors import InputError

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Record 7 with one file; tests change its fields and read `log`, the ranges that were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.entry: dict[str, Any] = {
            "name": "train.h5",
            "size": len(CONTENT),
            "download_url": f"{self.url}/files/1",
            "computed_md5": MD5,
            "supplied_md5": "",
        }
        self.failures: list[
            int | str
        ] = []  # of the next requests: a status, "cut" for half an answer, "none" for a good one
        self.ranges = True
        self.moved_to = ""
        self.log: list[str | None] = []
        self.instead: bytes | None = None  # of the right answer


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        failure = self.server.failures.pop(0) if self.server.failures else None
        if isinstance(failure, int):
            self.send_error(failure)
        elif self.path == "/v2/articles/7":
            answer = json.dumps({"id": 7, "files": [self.server.entry]}).encode()
            self.answer(200, answer if self.server.instead is None else self.server.instead)
        elif self.path == "/files/moved":
            self.send_response(302)
            self.send_header("Location", self.server.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/files/1":
            self.send_file(cut=failure == "cut")
        else:
            self.send_error(404)

    def send_file(self, cut: bool) -> None:
        asked = self.headers.get("Range")
        self.server.log.append(asked)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = CONTENT[first:]
        headers = {"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if first else {}
        self.answer(206 if first else 200, body, headers, sent=len(body) // 2 if cut else None)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asks may hang up when it is too much
            self.wfile.write(body[:sent])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def download(server: Server, folder: Path, attempts: int = 3) -> list[Path]:
    return download_article(7, folder, f"{server.url}/v2/", attempts=attempts, first_wait=0.0)


def test_download_and_repetition(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    assert download(server, folder) == [folder / "train.h5"]
    assert (folder / "train.h5").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["md5sums.txt", "train.h5"]
    assert "train.h5: 0.3 MB of 0.3 MB" in capfd.readouterr().err
    download(server, folder)
    assert server.log == [None]  # complete files are not asked for again
    (folder / "train.h5").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists but is not the file of the record"):
        download(server, folder)
    assert (folder / "train.h5").read_bytes() == b"mine"


def test_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "train.h5.part").write_bytes(CONTENT[:1000])
    download(server, tmp_path)
    assert server.log == ["bytes=1000-"]
    assert (tmp_path / "train.h5").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["md5sums.txt", "train.h5"]


def test_cut_connections_are_resumed_as_long_as_bytes_arrive(server: Server, tmp_path: Path) -> None:
    server.failures = [502, "none", *["cut"] * 6]
    download(server, tmp_path, attempts=2)
    assert (tmp_path / "train.h5").read_bytes() == CONTENT
    assert len(server.log) == 7 and server.log[:3] == [None, "bytes=150000-", "bytes=225000-"]


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "train.h5.part").write_bytes(b"x" * 1000)
    download(server, tmp_path)
    assert (tmp_path / "train.h5").read_bytes() == CONTENT


def test_transient_server_errors_are_retried_and_others_reported(server: Server, tmp_path: Path) -> None:
    server.failures = [503, 429]
    download(server, tmp_path / "a")
    server.failures = [500] * 3
    with pytest.raises(InputError, match=r"articles/7: failed after 3 attempts \(the server answers 500"):
        download(server, tmp_path / "b")
    server.failures = [403]
    with pytest.raises(InputError, match="articles/7: the server answers 403 Forbidden"):
        download(server, tmp_path / "b")
    with pytest.raises(InputError, match="articles/8: the server answers 404"):
        download_article(8, tmp_path, f"{server.url}/v2")


def test_file_with_wrong_md5_is_deleted(server: Server, tmp_path: Path) -> None:
    server.entry["computed_md5"] = "0" * 32
    with pytest.raises(InputError, match=r"train\.h5: the md5 of what was downloaded is wrong; it was deleted"):
        download(server, tmp_path)
    assert not list(tmp_path.iterdir())
    server.entry.update(computed_md5="", supplied_md5=MD5)
    (tmp_path / "train.h5.part").write_bytes(CONTENT + b"more")
    download(server, tmp_path)
    assert (tmp_path / "train.h5").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../evil.h5", "/etc/evil", "a\\b", "..", "", ".hidden", "a\nb", "x\0"])
def test_unsafe_names_are_refused(server: Server, tmp_path: Path, name: str) -> None:
    server.entry["name"] = name
    with pytest.raises(InputError, match="unsafe name") as caught:
        download(server, tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_odd_answers(server: Server, tmp_path: Path) -> None:
    for change, message in (
        ({"download_url": "file:///etc/passwd"}, "expected an http or https address"),
        ({"computed_md5": ""}, "states no md5"),
        ({"size": "many"}, "states the size 'many', expected a number of bytes"),
        ({"size": -1}, "states the size -1, expected"),
        ({"size": 1e400}, "states the size inf, expected"),
        ({"name": "md5sums.txt"}, r"called md5sums\.txt"),
        ({"name": None}, "not the answer of the figshare API"),
    ):
        original = dict(server.entry)
        server.entry.update(change)
        with pytest.raises(InputError, match=message):
            download(server, tmp_path)
        server.entry = original
    with pytest.raises(InputError, match="expected an http or https address"):
        download_article(7, tmp_path, "file:///tmp")


def test_large_and_deep_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figshare, "API_ANSWER_MB", 0.1)
    for answer, message in (
        (b" " * 30_000_000, "more than 0.1 MB"),
        (b"[" * 90_000, "RecursionError"),
        (b'{"files": [' + b"9" * 50_000 + b"]}", "ValueError"),
    ):
        server.instead = answer
        tracemalloc.start()
        with pytest.raises(InputError, match=f"articles/7: not the answer of the figshare API .*{message}") as caught:
            download(server, tmp_path)
        assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()


def test_files_are_checked_against_the_list_that_a_download_leaves(server: Server, tmp_path: Path) -> None:
    path = download(server, tmp_path)[0]
    assert (tmp_path / "md5sums.txt").read_text() == f"{MD5}  train.h5\n"  # as md5sum writes it
    check_listed([path])
    server.entry["name"] = "val.h5"
    download(server, tmp_path)
    assert len((tmp_path / "md5sums.txt").read_text().splitlines()) == 2
    for place in (0, 12_345, len(CONTENT) - 1):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 64
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"train\.h5: damaged, its md5 .*repeat the download") as caught:
            check_listed([tmp_path / "val.h5", path])
        assert "\n" not in str(caught.value)
    for content in (b"\xff", b"md5"):
        (tmp_path / "md5sums.txt").write_bytes(content)
        with pytest.raises(InputError, match=r"md5sums\.txt: "):
            check_listed([path])


def test_no_network_and_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"failed after 2 attempts \(.*refused\); check the network"):
        download_article(7, tmp_path, "http://127.0.0.1:1", attempts=2, first_wait=0.0)
    usage = namedtuple("usage", "total used free")(10, 0, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"0\.3 MB are needed, but the disk has only 0\.0 MB free"):
        download(server, tmp_path)


def test_disk_that_fills_during_the_download(server: Server, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "train.h5.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="the disk is full"):
        download(server, tmp_path)


def test_redirects_of_the_same_site_are_followed_and_others_refused(server: Server, tmp_path: Path) -> None:
    server.entry["download_url"] = f"{server.url}/files/moved"
    for elsewhere in (f"http://localhost:{server.server_port}/files/1", "http://169.254.169.254/latest/meta-data"):
        server.moved_to = elsewhere
        with pytest.raises(InputError) as caught:
            download(server, tmp_path)
        assert elsewhere.split("/")[2].split(":")[0] in str(caught.value) and "expected an https" in str(caught.value)
    server.moved_to = "file:///etc/passwd"
    with pytest.raises(InputError):
        download(server, tmp_path)
    assert not server.log, "no file was asked for"
    server.moved_to = f"{server.url}/files/1"
    (path,) = download(server, tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("start", "end", "followed"),
    [
        ("https://ndownloader.figshare.com/files/1", "https://s3-eu-west-1.amazonaws.com/pfigshare-u-files/1", True),
        ("https://api.figshare.com/v2", "https://figshare.com/v2", True),
        ("https://api.figshare.com/v2", "http://api.figshare.com/v2", False),
        ("https://api.figshare.com/v2", "https://figshare.com.evil.org/v2", False),
        ("https://api.figshare.com/v2", "https://evilfigshare.com/v2", False),
        ("https://s3-eu-west-1.amazonaws.com/a", "https://evil.amazonaws.com.evil.org/a", False),
        ("https://data.example.ac.uk/a", "https://www.example.ac.uk/a", True),
        ("https://data.example.ac.uk/a", "https://evil.ac.uk/a", False),
        ("https://10.0.0.1/a", "https://9.0.0.1/a", False),
        ("http://10.0.0.1/a", "https://10.0.0.1/a", True),
        ("https://api.figshare.com/v2", "https:///v2", False),
    ],
)
def test_where_redirects_may_lead(start: str, end: str, followed: bool) -> None:
    def redirected() -> Request | None:
        return _CheckedRedirects().redirect_request(Request(start), None, 302, "Found", HTTPMessage(), end)

    if followed:
        request = redirected()
        assert request is not None and request.full_url == end
    else:
        with pytest.raises(InputError, match="expected an https address"):
            redirected()


def test_a_record_read_by_https_names_https_addresses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(url: str) -> Any:
        return _open(url.replace("https://api.figshare.com", server.url))

    monkeypatch.setattr("dielectric_gnn.data.download.figshare._open", request)
    with pytest.raises(InputError, match="expected https addresses"):
        _list_files("https://api.figshare.com/v2/articles/7", _Retry(1, 0.0))
