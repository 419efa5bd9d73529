"""`metadata.json` of a store: its content, written with a checksum of its own, and checked when it is read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.limits import METADATA_MB, TooLargeError, read_bounded
from dielectric_gnn.utils.schemas import check_schema, read_schema

SCHEMA = 4
"""Since 4, neighbours at exactly the cutoff count and edges and their reverses have exactly opposite vectors."""

METADATA = "metadata.json"
SpectraDtype = Literal["float32", "float16"]
CURE = "build the store anew, or copy it again"
"""What a user can do about a damaged store."""


def _increasing(grid: tuple[float, float, int]) -> tuple[float, float, int]:
    if not grid[0] < grid[1]:
        raise ValueError("expected the first energy below the last")
    return grid


def _file_names(checksums: dict[str, str]) -> dict[str, str]:
    if bad := [key for key in checksums if not key.isidentifier()]:
        raise ValueError(f"{bad[0]!r} is not the name of an array")
    return checksums


Count = Annotated[int, Field(ge=0, lt=2**53)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Energy = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Grid = Annotated[tuple[Energy, Energy, Annotated[int, Field(ge=2, lt=2**31)]], AfterValidator(_increasing)]


class _Version(TypedDict):
    schema: int


@dataclass(frozen=True)
class StoreMetadata:
    """The content of `metadata.json`.

    Args:
        schema: Version of the layout.
        source: Description of the source of the materials.
        cutoff: Neighbour cutoff of the graphs in Å.
        three_body_cutoff: Longest edge (Å) of the three-body pairs that are counted.
        grid: First and last photon energy in eV, and the number of points.
        broadening: Γ of the spectra in eV; None if unknown.
        spectra_dtype: Precision of the spectra; None without spectra.
        tensors: Whether the store has full tensors; the arrays of `StoredAnisotropy`.
        num_materials: M.
        num_atoms: N.
        num_edges: E.
        num_pairs: Three-body pairs.
        elements: Number of materials that contain each element.
        checksums: Of every array, CRC-32 of its elements (without the header), as hexadecimal digits.
        num_orbits: Classes of atoms, edges and pairs; None without orbits.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema: int
    source: str
    cutoff: Length
    three_body_cutoff: Length
    grid: Grid
    broadening: Length | None
    spectra_dtype: SpectraDtype | None
    tensors: bool
    num_materials: Count
    num_atoms: Count
    num_edges: Count
    num_pairs: Count
    elements: dict[str, Count]
    checksums: Annotated[dict[str, str], AfterValidator(_file_names)]
    num_orbits: tuple[Count, Count, Count] | None = None


def write_metadata(folder: Path, metadata: StoreMetadata) -> None:
    """Write `metadata.json`, with a checksum of its own."""
    content = asdict(metadata)
    checksum = _checksum_of(_canonical(content))
    write_text(folder / METADATA, json.dumps({**content, "checksum": checksum}, indent=1) + "\n")


def read_metadata(folder: Path) -> StoreMetadata:
    """Read `metadata.json` of a store.

    Raises:
        InputError: No such folder, not a store, damaged, or of another schema.
    """
    path = folder.expanduser() / METADATA
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such store; `dielectric-gnn prepare` writes one")
    try:
        with path.open("rb") as file:
            text = read_bounded(file, METADATA_MB)
    except FileNotFoundError as error:
        raise InputError(f"{path.parent}: not a store, it has no {METADATA}") from error
    except (OSError, TooLargeError) as error:
        raise InputError(f"{path}: damaged ({error}); {CURE}") from error
    damaged = f"{path}: damaged"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{damaged} ({error}); {CURE}") from error
    check_schema(damaged, content, _Version, CURE)
    if (schema := content["schema"]) != SCHEMA:
        raise InputError(
            f"{path}: the store has schema {schema}, this version reads {SCHEMA}; build the store anew "
            "(the graphs of earlier stores may lack neighbours at exactly the cutoff)"
        )
    checksum = content.pop("checksum", None)
    canonical = _canonical(content)
    if checksum != _checksum_of(canonical):
        raise InputError(f"{damaged}: its checksum does not match its content; {CURE}")
    return read_schema(damaged, canonical, StoreMetadata, CURE)


def checksum_text(checksum: int) -> str:
    """A CRC-32 checksum as eight hexadecimal digits, as `metadata.json` states it."""
    return f"{checksum:08x}"


def _canonical(content: Mapping[str, Any]) -> str:
    """The one JSON text of the content that its checksum is taken of, whatever the order of keys in the file."""
    return json.dumps(content, sort_keys=True)


def _checksum_of(canonical: str) -> str:
    return checksum_text(zlib.crc32(canonical.encode()))
