"""`metadata.json` of a store: what it says, written with a checksum of its own, and checked when it is read."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dielectric_gnn.errors import InputError
from dielectric_gnn.files import write_text
from dielectric_gnn.limits import METADATA_MB, read_bounded

SCHEMA = 4
"""Since 4, neighbours at exactly the cutoff count and edges and their reverses have exactly opposite vectors."""

METADATA = "metadata.json"
SpectraDtype = Literal["float32", "float16"]
CURE = "build the store anew, or copy it again"
"""Of a damaged store."""

_SHOWN = 200
"""Letters of what is wrong."""


@dataclass(frozen=True)
class StoreMetadata:
    """What `metadata.json` says.

    Args:
        schema: Version of the layout.
        source: Where the materials came from, in words.
        cutoff: Neighbour cutoff of the graphs in Å.
        three_body_cutoff: Longest edge (Å) of the three-body pairs that are counted.
        grid: First and last photon energy in eV, and the number of points.
        broadening: Γ of the spectra in eV; None if unknown.
        spectra_dtype: Precision of the spectra; None without spectra.
        tensors: Whether it holds whole tensors; the arrays of `StoredAnisotropy`.
        num_materials: M.
        num_atoms: N.
        num_edges: E.
        num_pairs: Three-body pairs.
        elements: How many materials hold each element.
        checksums: Of every array, CRC-32 of its elements (without the header), as hexadecimal digits.
        num_orbits: Classes of atoms, edges and pairs; None without orbits.
    """

    schema: int
    source: str
    cutoff: float
    three_body_cutoff: float
    grid: tuple[float, float, int]
    broadening: float | None
    spectra_dtype: SpectraDtype | None
    tensors: bool
    num_materials: int
    num_atoms: int
    num_edges: int
    num_pairs: int
    elements: dict[str, int]
    checksums: dict[str, str]
    num_orbits: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for key, fits, expected in _EXPECTED:
            if not fits(value := getattr(self, key)):
                raise ValueError(f"{key} is {str(value)[:_SHOWN]!r}, expected {expected}")


def write_metadata(folder: Path, metadata: StoreMetadata) -> None:
    """Write `metadata.json`, with a checksum of its own."""
    plain = json.loads(json.dumps(asdict(metadata)))
    write_text(folder / METADATA, json.dumps({**plain, "checksum": _digest(plain)}, indent=1) + "\n")


def read_metadata(folder: Path) -> StoreMetadata:
    """Read `metadata.json` of a store.

    Raises:
        InputError: No such folder, not a store, damaged, or of another schema.
    """
    path = folder.expanduser() / METADATA
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such store; tools/prepare_data.py writes one")
    try:
        with path.open("rb") as file:
            plain = json.loads(read_bounded(file, METADATA_MB))
        schema = int(plain["schema"])
        if schema == SCHEMA:
            if plain.pop("checksum") != _digest(plain):
                raise ValueError("its checksum does not fit")
            tuples = {key: tuple(value) for key, value in plain.items() if isinstance(value, list)}
            return StoreMetadata(**{**plain, **tuples})
    except FileNotFoundError as error:
        raise InputError(f"{path.parent}: not a store, it has no {METADATA}") from error
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        raise InputError(f"{path}: damaged ({type(error).__name__}: {reason}); {CURE}") from error
    raise InputError(
        f"{path}: the store has schema {schema}, this version reads {SCHEMA}; build the store anew "
        "(the graphs of earlier stores may lack neighbours at exactly the cutoff)"
    )


def checksum_text(checksum: int) -> str:
    """As `metadata.json` has it."""
    return f"{checksum:08x}"


def _digest(plain: Mapping[str, Any]) -> str:
    return checksum_text(zlib.crc32(json.dumps(plain, sort_keys=True).encode()))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf


def _is_grid(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != 3:
        return False
    start, stop, num = value
    return (start == 0 or _is_positive(start)) and _is_positive(stop) and start < stop and _is_whole(num) and num > 1


def _counts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_whole(count) for key, count in value.items())


def _sums_by_name(value: Any) -> bool:
    # The names become those of files.
    return isinstance(value, dict) and all(
        isinstance(key, str) and key.isidentifier() and isinstance(text, str) for key, text in value.items()
    )


def _is_orbits(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and len(value) == 3 and all(map(_is_whole, value)))


_COUNTS = ("num_materials", "num_atoms", "num_edges", "num_pairs")
_EXPECTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("source", lambda value: isinstance(value, str), "text"),
    ("cutoff", _is_positive, "a positive number"),
    ("three_body_cutoff", _is_positive, "a positive number"),
    ("grid", _is_grid, "first and last energy and their number"),
    ("broadening", lambda value: value is None or _is_positive(value), "a positive number or null"),
    ("spectra_dtype", lambda value: value is None or value in get_args(SpectraDtype), "a precision or null"),
    ("tensors", lambda value: isinstance(value, bool), "true or false"),
    *((key, _is_whole, "a whole number") for key in _COUNTS),
    ("elements", _counts_by_name, "numbers of materials by element"),
    ("checksums", _sums_by_name, "texts by name of array"),
    ("num_orbits", _is_orbits, "three whole numbers or null"),
)
"""What the fields must be: a JSON file may say anything."""
