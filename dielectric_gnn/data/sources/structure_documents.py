"""Structures in JSON as clients of materials databases write it, read as plain data.

Understood are pymatgen `Structure` dictionaries and documents that contain one under `structure` (Materials Project),
OPTIMADE structures (`attributes` with `lattice_vectors` and sites) and NOMAD archives; alone, in a list, or under
`data`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.formulas import check_formula, parse_formula
from dielectric_gnn.data.sources.structure_dict import element_of_site, parse_structure, plain_array
from dielectric_gnn.utils.errors import RecordError

_IDS = ("material_id", "mat_id", "entry_id", "immutable_id", "id")
"""Keys under which documents state their id, the first one that is there."""
_FORMULAS = ("composition", "formula", "formula_pretty", "reduced_formula")
"""Keys that state the formula beside a pymatgen structure."""
_ANGSTROM_PER_METRE = 1e10


def structures_in(content: Any, source: str) -> list[tuple[str, Atoms | RecordError]]:
    """The structures of a JSON document, or why one cannot be used, with their ids.

    An id is empty if the document states none; of several without one, it is their number in the file, from 1 on.

    Args:
        content: The document as plain types.
        source: Name of the file, for messages.

    Raises:
        RecordError: It is none of the known documents, or has no structures.
    """
    documents = list(_documents(content))
    if not documents:
        raise RecordError(source, "holds no structures: the list is empty")
    names = _unique([_stated_id(document) for document in documents])
    return [(name, _read_or_error(one, name, source)) for name, one in zip(names, documents, strict=True)]


def _documents(content: Any) -> Iterator[Any]:
    """The single documents of a list, of a response with `data`, or the content itself."""
    if isinstance(content, Mapping) and "structure" not in content and isinstance(content.get("data"), list | Mapping):
        content = content["data"]
    if isinstance(content, list):
        yield from content
    else:
        yield content


def _stated_id(document: Any) -> str:
    if not isinstance(document, Mapping):
        return ""
    stated = [document[key] for key in _IDS if isinstance(document.get(key), str | int) and document[key] != ""]
    return str(stated[0]) if stated else ""


def _unique(names: list[str]) -> list[str]:
    """Names without repetition: of several, empty and equal ones get their number."""
    if len(names) == 1:
        return names
    shared = Counter(names)
    return [
        name if name and shared[name] == 1 else "-".join(filter(None, (name, str(place))))
        for place, name in enumerate(names, 1)
    ]


def _read_or_error(document: Any, name: str, source: str) -> Atoms | RecordError:
    where = f"{source}: {name}" if name else source
    try:
        return _read(document, where)
    except RecordError as error:
        return error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return RecordError(where, f"the structure is malformed ({type(error).__name__}: {error})")


def _read(document: Any, source: str) -> Atoms:
    if not isinstance(document, Mapping):
        raise RecordError(source, f"expected a JSON object with a structure, got a {type(document).__name__}")
    attributes = document.get("attributes", document)
    if isinstance(attributes, Mapping) and "lattice_vectors" in attributes:
        return _optimade(attributes, source)
    if "archive" in document or "results" in document or "run" in document:
        return _nomad(document, source)
    return _pymatgen(document, source)


def _pymatgen(document: Mapping[str, Any], source: str) -> Atoms:
    structure = document.get("structure", document)
    for part in (document, structure):
        periodic = part.get("pbc", True) if isinstance(part, Mapping) else True
        if not (all(periodic) if isinstance(periodic, list) else periodic):
            raise RecordError(source, f"pbc is {periodic}; models need periodicity in all directions")
    atoms = Atoms(*parse_structure(structure, source))
    try:
        for key in _FORMULAS:
            if (stated := _stated_formula(document, key)) is not None:
                check_formula(stated, Counter(atoms.numbers.tolist()))
    except ValueError as error:
        raise RecordError(source, str(error)) from error
    return atoms


def _stated_formula(document: Mapping[str, Any], key: str) -> Mapping[int, float] | None:
    """Amounts by atomic number under a key: as text, or by element; None if there is nothing."""
    stated = document.get(key)
    if isinstance(stated, Mapping) and stated:
        return parse_formula(" ".join(f"{element}{amount}" for element, amount in stated.items()))
    return parse_formula(stated) if isinstance(stated, str) and stated.strip() else None


def _optimade(attributes: Mapping[str, Any], source: str) -> Atoms:
    """Source: the OPTIMADE specification 1.2, entries of type structures; lengths in Å."""
    if not all(attributes.get("dimension_types") or [1, 1, 1]):
        raise RecordError(
            source, f"dimension_types is {attributes['dimension_types']}; models need periodicity in all directions"
        )
    lattice = plain_array(attributes["lattice_vectors"])
    positions = plain_array(attributes["cartesian_site_positions"]).reshape(-1, 3)
    species = {one["name"]: one for one in attributes.get("species") or ()}
    numbers = [
        _element_of_site(name, species.get(name), place, source)
        for place, name in enumerate(attributes["species_at_sites"])
    ]
    return _checked(lattice, numbers, positions, source)


def _element_of_site(name: str, species: Mapping[str, Any] | None, place: int, source: str) -> int:
    symbols, shares = [name], [1.0]
    if species is not None:
        symbols = list(species["chemical_symbols"])
        shares = list(species.get("concentration") or [1.0] * len(symbols))
        if species.get("attached"):
            raise RecordError(source, f"site {place} has attached atoms ({', '.join(species['attached'])})")
    return element_of_site(list(zip(symbols, shares, strict=True)), place, source)


def _nomad(document: Mapping[str, Any], source: str) -> Atoms:
    """Of a NOMAD archive: the normalised structure of `results`, else the last system of `run`; lengths in metres."""
    archive = document.get("archive", document)
    found = archive.get("results", {}).get("properties", {}).get("structures", {}).get("structure_original")
    if found is not None:
        names = {one["name"]: one for one in found.get("species") or ()}
        labels = [_nomad_label(name, names.get(name)) for name in found["species_at_sites"]]
        lattice, positions = found["lattice_vectors"], found["cartesian_site_positions"]
    else:
        atoms = archive["run"][-1]["system"][-1]["atoms"]
        if not all(atoms.get("periodic", [True])):
            raise RecordError(source, f"periodic is {atoms['periodic']}; models need periodicity in all directions")
        labels, lattice, positions = atoms["labels"], atoms["lattice_vectors"], atoms["positions"]
    numbers = [element_of_site([(label, 1.0)], place, source) for place, label in enumerate(labels)]
    scale = _ANGSTROM_PER_METRE
    return _checked(scale * plain_array(lattice), numbers, scale * plain_array(positions).reshape(-1, 3), source)


def _nomad_label(name: str, species: Mapping[str, Any] | None) -> str:
    symbols = [name] if species is None else list(species["chemical_symbols"])
    return str(symbols[0]) if len(symbols) == 1 else name


def _checked(lattice: Any, numbers: list[int], positions: Any, source: str) -> Atoms:
    if len(numbers) != len(positions):
        raise RecordError(source, f"{len(numbers)} elements, but {len(positions)} positions; the file is incomplete")
    return Atoms(lattice, np.asarray(numbers, dtype=np.int64), positions)
