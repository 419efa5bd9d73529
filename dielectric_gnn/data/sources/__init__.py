"""One file per format of the outside world, each an iterable of `CrystalRecord`."""

from dielectric_gnn.data.sources.base import RecordSource
from dielectric_gnn.data.sources.calculations import Calculations
from dielectric_gnn.data.sources.entry_json import EntryJson
from dielectric_gnn.data.sources.example import CoarseMetals, ExampleMetals
from dielectric_gnn.data.sources.fidelities import Fidelities
from dielectric_gnn.data.sources.prepared_hdf5 import PreparedHDF5
from dielectric_gnn.data.sources.structure_files import StructureFiles
from dielectric_gnn.data.sources.synthetic import SyntheticMetals

__all__ = [
    "Calculations",
    "CoarseMetals",
    "EntryJson",
    "ExampleMetals",
    "Fidelities",
    "PreparedHDF5",
    "RecordSource",
    "StructureFiles",
    "SyntheticMetals",
]
