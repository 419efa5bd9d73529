"""Lists of md5 checksums beside downloaded files, in the format of `md5sum`."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.limits import METADATA_MB, TooLargeError, read_bounded

log = logging.getLogger(__name__)

MD5_LIST = "md5sums.txt"
"""Name of the list in the folder of the files; `md5sum -c md5sums.txt` checks them too."""

_LINE = re.compile(r"([0-9a-f]{32}) [ *](.+)")


def md5_of(path: Path) -> str:
    """The md5 of a file in hexadecimal digits; it detects damage, not forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def write_md5_list(folder: Path, sums: Mapping[str, str]) -> None:
    """Add files and their md5 to the list of a folder."""
    known = {**_read(folder / MD5_LIST), **sums}
    write_text(folder / MD5_LIST, "".join(f"{known[name]}  {name}\n" for name in sorted(known)))


def check_listed(paths: Iterable[Path]) -> None:
    """Check files against the list beside them; without one, a log line states that damage is not detected.

    Raises:
        InputError: A file differs from the downloaded one, or the list is damaged.
    """
    for path in paths:
        stated = _read(path.with_name(MD5_LIST)).get(path.name)
        if stated is None:
            log.info("%s is not listed in a %s beside it, so damage to its values cannot be detected", path, MD5_LIST)
        elif md5_of(path) != stated:
            raise InputError(
                f"{path}: damaged, its md5 is not the one in {MD5_LIST}; delete it and repeat the download, or, if it "
                f"was changed on purpose, take its line out of {MD5_LIST}"
            )


def _read(path: Path) -> dict[str, str]:
    """The md5 of each file in a list; nothing if there is no list."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            lines = read_bounded(file, METADATA_MB).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, TooLargeError) as error:
        raise InputError(f"{path}: not a list of md5 sums ({error}); delete it and repeat the download") from error
    sums = {}
    for number, line in enumerate(lines, start=1):
        if (match := _LINE.fullmatch(line)) is None:
            raise InputError(f"{path}: line {number} is not an md5 and a name; delete the file and repeat the download")
        sums[match[2]] = match[1]
    return sums
