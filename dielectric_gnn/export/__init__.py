"""Optical responses as files that other programs read: optics databases, tables, and time-domain simulators.

`export` writes a material in any of the formats in `WRITERS`, whose writers share one signature: path, photon energies
in eV, total ε, and a `Material` with its name, formula and origin (predicted or calculated).
"""

from dielectric_gnn.export.drude_lorentz import DrudeLorentz, FitError
from dielectric_gnn.export.fitting import FIT_WINDOW_EV, Fit, fit_drude_lorentz
from dielectric_gnn.export.formats import WRITERS, Format, export
from dielectric_gnn.export.material import Material
from dielectric_gnn.export.meep import write_meep
from dielectric_gnn.export.refractiveindex import write_refractiveindex
from dielectric_gnn.export.tables import write_nk, write_quantities_csv, write_quantities_json

__all__ = [
    "FIT_WINDOW_EV",
    "WRITERS",
    "DrudeLorentz",
    "Fit",
    "FitError",
    "Format",
    "Material",
    "export",
    "fit_drude_lorentz",
    "write_meep",
    "write_nk",
    "write_quantities_csv",
    "write_quantities_json",
    "write_refractiveindex",
]
