"""The codes, and which files of a folder are calculations of which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.elk import read_elk
from dielectric_gnn.data.sources.calculations.exciting import read_exciting
from dielectric_gnn.data.sources.calculations.fhi_aims import read_fhi_aims
from dielectric_gnn.data.sources.calculations.gpaw import read_gpaw
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.quantum_espresso import read_epsilon_x, read_simple_ip
from dielectric_gnn.data.sources.calculations.vasp import read_vasp
from dielectric_gnn.data.sources.calculations.yambo import read_yambo
from dielectric_gnn.data.sources.compression import OPENERS, compression_suffix

_HEAD = 4096
"""Bytes at the beginning of a file by which it is recognised."""

_NUMBER = r"[-+]?[\d.]+(?:[eEdD]?[-+]\d+)?"
_ELK_HEAD = re.compile(rf"\s*{_NUMBER}\s+{_NUMBER}\s*\n")
_GPAW_HEAD = re.compile(rf"\s*{_NUMBER}(?:\s*,\s*{_NUMBER}){{4}}\s*\n")


@dataclass(frozen=True)
class Code:
    """How calculations of one code are found and read.

    Args:
        name: Of the code.
        pattern: Names of its files; files of one calculation share the group `key`, where there is one.
        recognises: Whether a file begins as those of the code do.
        certain: Names that no other program gives, so that a file which begins otherwise is damaged.
        read: Reads the files of one calculation.
    """

    name: str
    pattern: re.Pattern[str]
    recognises: Callable[[str], bool]
    certain: re.Pattern[str]
    read: Callable[[Sequence[Path], ReadOptions], Calculation]


class FoundCalculation(NamedTuple):
    """The files of one calculation.

    Args:
        code: Name of the code; empty where no code writes a file that begins so.
        files: Those that hold spectra, by name.
    """

    code: str
    files: tuple[Path, ...]


def _code(
    name: str,
    pattern: str,
    recognises: Callable[[str], bool],
    read: Callable[[Sequence[Path], ReadOptions], Calculation],
    certain: str | None = None,
) -> Code:
    names = re.compile(pattern, re.IGNORECASE)
    return Code(name, names, recognises, names if certain is None else re.compile(certain, re.IGNORECASE), read)


_EPSILON = r"EPSILON_[123][123]\.OUT"
_COMPRESSED = r"(?:\.gz|\.bz2|\.xz)?"
CODES: dict[str, Code] = {
    code.name: code
    for code in (
        _code(
            "VASP",
            rf"(?P<key>vasprun.*\.xml.*|.*\.xml{_COMPRESSED})",
            lambda head: "<modeling>" in head,
            read_vasp,
            r"vasprun.*\.xml.*",
        ),
        _code("simple_ip.x", r"(?P<key>.*)\.eps_inter_re\.dat", lambda head: "Re(eps)_x" in head, read_simple_ip),
        _code("epsilon.x", r"(?P<key>epsr.*\.dat)", lambda head: "epsr_x" in head, read_epsilon_x, r"epsr_.*"),
        _code(
            "FHI-aims", r"(?P<key>dielectric_function.*)_[xyz]_[xyz]\.out", lambda head: "omega" in head, read_fhi_aims
        ),
        _code("exciting", _EPSILON, lambda head: head.startswith("# energy (Ha)"), read_exciting),
        _code("Elk", _EPSILON, lambda head: _ELK_HEAD.match(head) is not None, read_elk),
        _code("Yambo", r"o(-.*)?\.eps_q1(_.*)?", lambda head: "EPS-Im" in head or "Im(eps)" in head, read_yambo),
        _code(
            "GPAW",
            r"(?P<key>.*?)(?:[_-][xyz])?\.csv",
            lambda head: _GPAW_HEAD.match(head) is not None,
            read_gpaw,
            r"df([_-][xyz])?\.csv",
        ),
    )
}
"""By name; of those whose files have the same names, content decides."""

FILE_NAMES = (
    "vasprun.xml (also .gz, .bz2, .xz), PREFIX.eps_inter_re.dat, epsr_PREFIX.dat, dielectric_function_*_x_x.out, "
    "EPSILON_ij.OUT, o-JOB.eps_q1_*, df.csv"
)
"""What is looked for, in words."""


def find_calculations(files: Iterable[Path]) -> Iterator[FoundCalculation]:
    """The calculations among the files of one folder, by name.

    A file that does not begin as those of its code belongs to the calculation whose other files do, so that no
    component is left out in silence.
    """
    groups: dict[tuple[str, str], list[Path]] = {}
    damaged: list[tuple[Path, list[tuple[str, str]]]] = []
    for path in sorted(files):
        candidates = _candidates(path)
        head = _head(path) if candidates else None
        group = next((one for one in candidates if head is not None and CODES[one[0]].recognises(head)), None)
        if group is not None:
            groups.setdefault(group, []).append(path)
        elif candidates:
            damaged.append((path, candidates))
    for path, candidates in damaged:
        group = next((one for one in candidates if one in groups), None)
        if group is not None:
            groups[group].append(path)
        elif any(CODES[name].certain.fullmatch(path.name) for name, _ in candidates):
            groups["", path.name] = [path]
    for (name, _), found in sorted(groups.items(), key=lambda item: item[1][0]):
        yield FoundCalculation(name, tuple(sorted(found)))


def _candidates(path: Path) -> list[tuple[str, str]]:
    """The codes that write files of such a name, and what files of one calculation have in common in their names."""
    matches = ((code.name, code.pattern.fullmatch(path.name)) for code in CODES.values())
    return [(name, match.groupdict().get("key") or "") for name, match in matches if match]


def _head(path: Path) -> str | None:
    """How a file begins, after decompression; None if that cannot be read."""
    try:
        with path.open("rb") as file, OPENERS[compression_suffix(path.name)](file) as content:
            return content.read(_HEAD).decode("latin-1")
    except Exception:  # a damaged file is reported by name
        return None
