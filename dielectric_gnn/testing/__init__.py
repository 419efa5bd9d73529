"""Contracts that users inherit to test their own parts, and structures for such tests."""

from dielectric_gnn.testing.backbones import (
    BackboneContract,
    crystal,
    graph_of,
    joined,
    labelled,
    over_atoms,
    random_rotation,
    rotated,
    sample_crystals,
    supercell,
    transformed,
)

__all__ = [
    "BackboneContract",
    "crystal",
    "graph_of",
    "joined",
    "labelled",
    "over_atoms",
    "random_rotation",
    "rotated",
    "sample_crystals",
    "supercell",
    "transformed",
]
