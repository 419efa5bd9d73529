"""Downloading a public figshare record: resumable, checked by md5, and never unpacked or unpickled.

The published data (arXiv:2602.05702) are three records; see `ARTICLES`.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from dielectric_gnn import __version__
from dielectric_gnn.data.download.md5_lists import MD5_LIST, md5_of, write_md5_list
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import API_ANSWER_MB, TooLargeError, read_bounded
from dielectric_gnn.utils.progress import ProgressReporter

ARTICLES = {"complete": (31111798, 31112491), "prepared": (31112554,)}
"""Ids of the figshare records: the complete data in two parts, and the HDF5 files prepared for learning."""

API_URL = "https://api.figshare.com/v2"
T = TypeVar("T")

_STORAGE = ("s3-eu-west-1.amazonaws.com",)
"""Hosts of figshare's storage, to which its download addresses redirect."""

_TIMEOUT = 60.0
_CHUNK = 1 << 20
_TRANSIENT_STATUS_CODES = {408, 425, 429, 500, 502, 503, 504}
_NETWORK_ERRORS = (URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record: its name, size in bytes, address and md5 in hexadecimal."""

    name: str
    size: int
    url: str
    md5: str


def download_article(
    article_id: int, folder: Path, api_url: str = API_URL, attempts: int = 6, first_wait: float = 1.0
) -> list[Path]:
    """Download every file of a public figshare record into `folder`.

    A file is written as `NAME.part`, continued when the call is repeated, and renamed once its md5 is correct. Existing
    correct files are kept. `md5sums.txt` beside them stores the checksums, which are verified when they are read.

    Args:
        article_id: Number of the record.
        folder: Folder of the files, created if it does not exist.
        api_url: Address of the figshare API, version 2.
        attempts: Number of attempts of one request without progress.
        first_wait: Seconds before the second attempt; doubled for every further one.

    Returns:
        The files.

    Raises:
        InputError: No network, no such record, an unsafe file name, a wrong md5, a full disk, or another file in place.
    """
    retry = _Retry(attempts, first_wait)
    files = _list_files(f"{api_url.rstrip('/')}/articles/{article_id}", retry)
    folder = folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not _is_complete(file, folder / file.name)]
    _check_space(missing, folder)
    for file in missing:
        _download(file, folder / file.name, retry)
    write_md5_list(folder, {file.name: file.md5 for file in files})
    return [folder / file.name for file in files]


@dataclass(frozen=True)
class _Retry:
    """Repeats a request after network or server errors, with increasing delays."""

    attempts: int
    first_wait: float

    def __call__(self, url: str, request: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Call `request` until it succeeds, or fails `attempts` times without an increase of `progress`."""
        failures, reached = 0, progress()
        while True:
            try:
                return request()
            except _NETWORK_ERRORS as error:
                reason = _transient_reason(url, error)
            if progress() > reached:
                failures, reached = 0, progress()
            failures += 1
            if failures >= self.attempts:
                raise InputError(
                    f"{url}: failed after {failures} attempts ({reason}); check the network, then repeat the command "
                    "to continue"
                )
            time.sleep(self.first_wait * 2 ** (failures - 1))


def _transient_reason(url: str, error: Exception) -> str:
    """Reason of a failed request; raises InputError unless the error is transient."""
    if not isinstance(error, HTTPError):
        return str(getattr(error, "reason", error)) or type(error).__name__
    error.close()
    reason = f"the server answers {error.code} {error.reason}"
    if error.code not in _TRANSIENT_STATUS_CODES:
        raise InputError(f"{url}: {reason}") from error
    return reason


def _list_files(url: str, retry: _Retry) -> list[RemoteFile]:
    def request() -> bytes:
        with _open(url) as response:
            return read_bounded(response, API_ANSWER_MB)

    try:
        answer = retry(url, request)
    except TooLargeError as error:
        raise InputError(f"{url}: not the answer of the figshare API ({error})") from error
    return listed_files(url, answer)


def listed_files(url: str, answer: bytes) -> list[RemoteFile]:
    """The files listed in a response of the API.

    Raises:
        InputError: It is not such a response, or lists something that is not safe to download.
    """
    try:
        files = [_remote_file(entry) for entry in json.loads(answer)["files"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url}: not the answer of the figshare API ({error!r})") from error
    if urlsplit(url).scheme == "https" and (
        open_ones := [file.url for file in files if not file.url.startswith("https:")]
    ):
        raise InputError(f"{url}: the record names {open_ones[0]}, expected https addresses; nothing was downloaded")
    if not files or len({MD5_LIST, *(file.name for file in files)}) != len(files) + 1:
        raise InputError(f"{url}: the record lists no files, two of one name, or one called {MD5_LIST}")
    return files


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    name, md5 = entry["name"], entry.get("computed_md5") or entry.get("supplied_md5") or ""
    if not re.fullmatch(r"[\w()+,= -][\w().+,= -]*", name):
        raise InputError(f"the record contains a file with the unsafe name {name!r}; nothing was downloaded")
    if not re.fullmatch(r"[0-9a-f]{32}", md5):
        raise InputError(f"{name}: the record states no md5 to check the file against")
    size = entry["size"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InputError(f"{name}: the record states the size {size!r}, expected a number of bytes")
    return RemoteFile(name, size, str(entry["download_url"]), md5)


def _open(url: str, first_byte: int = 0) -> Any:
    if urlsplit(url).scheme not in ("http", "https"):  # urllib would also open local files
        raise InputError(f"{url}: expected an http or https address")
    headers = {"User-Agent": f"dielectric-gnn/{__version__}"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    return build_opener(_CheckedRedirects).open(Request(url, headers=headers), timeout=_TIMEOUT)


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows redirects to https addresses of the same site, or of figshare's storage, and refuses others.

    A request by http, for example to a local server, may be redirected to http.
    """

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        """The request that follows a redirect.

        Raises:
            InputError: It leads elsewhere.
        """
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        secure = new.scheme == "https" or (new.scheme == "http" == old.scheme)
        if not secure or not (_site(new.hostname) == _site(old.hostname) or new.hostname in _STORAGE):
            if fp is not None:
                fp.close()
            raise InputError(
                f"{req.full_url}: the server leads to {new.scheme}://{new.hostname}, expected an https address of "
                f"{_site(old.hostname)} or {', '.join(_STORAGE)}; nothing was read from there"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _site(host: str | None) -> str:
    """Common part of the hosts of one site: the end of their names, or a complete IP address."""
    parts = (host or "").lower().split(".")
    if parts[-1].isdigit() or ":" in parts[-1]:
        return ".".join(parts)
    national = len(parts) > 2 and len(parts[-1]) == 2 and len(parts[-2]) <= 3  # such as example.ac.uk
    return ".".join(parts[-3 if national else -2 :])


def _is_complete(file: RemoteFile, path: Path) -> bool:
    if not path.exists():
        return False
    if path.stat().st_size != file.size or md5_of(path) != file.md5:
        raise InputError(f"{path}: exists but is not the file of the record; move it away and repeat the command")
    return True


def _check_space(files: list[RemoteFile], folder: Path) -> None:
    needed = sum(file.size - _size(_part(folder / file.name)) for file in files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {_format_size(needed)} are needed, but the disk has only {_format_size(free)} free"
        )


def _download(file: RemoteFile, path: Path, retry: _Retry) -> None:
    part = _part(path)
    if _size(part) > file.size:
        part.unlink()
    with ProgressReporter(file.name, file.size, _format_size, done=_size(part)) as progress:
        retry(file.url, lambda: _fetch(file, part, progress), lambda: _size(part))
    if md5_of(part) != file.md5:
        part.unlink()
        raise InputError(f"{path}: the md5 of what was downloaded is wrong; it was deleted, repeat the command")
    part.replace(path)


def _fetch(file: RemoteFile, part: Path, progress: ProgressReporter) -> None:
    """Append the missing bytes to `part`; a server without support for ranges sends all of them again."""
    have = _size(part)
    if have == file.size:
        part.touch()
        return
    with _open(file.url, have) as response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        progress.advance(have - progress.done)
        try:
            with part.open("ab" if have else "wb") as output:
                while have < file.size and (chunk := response.read(min(_CHUNK, file.size - have))):
                    output.write(chunk)
                    have += len(chunk)
                    progress.advance(len(chunk))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(f"{part}: the disk is full; make room and repeat the command") from error
            raise
    if have < file.size:
        raise ConnectionError("the connection ended early")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _format_size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
