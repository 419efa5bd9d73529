"""From dielectric function to optical quantities: pure functions on NumPy arrays, each with its closed form.

Convention e^(-iωt): Im ε > 0 is loss. Energies are in eV. The last axis of every spectrum is photon energy; leading
axes broadcast: for a tensor response they hold the axes x, y, z, each with the ε of light polarised along it. At ω = 0
a metal's response diverges; the functions return the limits (n, k → ∞, R → 1) instead of NaN where ε determines them.

Modules: `response`, `refraction`, `reflection`, `conduction`, `loss`, `plasmonics`, `colour`, and two scores that need
no label, `sum_rule` and `kramers_kronig`.
"""

from dielectric_gnn.optics.colour import (
    DEFAULT_ILLUMINANT,
    DEFAULT_OBSERVER,
    VISIBLE_NM,
    ColourDistance,
    Observer,
    colour_difference,
    colour_lab,
    colour_srgb,
    colour_xyz,
    covers_visible,
    hex_colour,
    response_colour,
    response_colour_or_nan,
    white_point,
)
from dielectric_gnn.optics.conduction import drude_conductivity, optical_conductivity
from dielectric_gnn.optics.kramers_kronig import kramers_kronig_matrix, kramers_kronig_real, kramers_kronig_residual
from dielectric_gnn.optics.loss import loss_function, screened_plasma_energy
from dielectric_gnn.optics.plasmonics import propagation_length, quality_localised, quality_propagating
from dielectric_gnn.optics.reflection import Polarisation, oblique_reflectivity, reflectivity
from dielectric_gnn.optics.refraction import absorption_coefficient, refractive_index, skin_depth
from dielectric_gnn.optics.response import DEFAULT_DAMPING, check_damping, drude_term, total_dielectric_function
from dielectric_gnn.optics.sum_rule import plasma_energy, sum_rule_fraction, sum_rule_weight, valence_electrons
from dielectric_gnn.optics.units import HC_EV_NM, ComplexArray, FloatArray

__all__ = [
    "DEFAULT_DAMPING",
    "DEFAULT_ILLUMINANT",
    "DEFAULT_OBSERVER",
    "HC_EV_NM",
    "VISIBLE_NM",
    "ColourDistance",
    "ComplexArray",
    "FloatArray",
    "Observer",
    "Polarisation",
    "absorption_coefficient",
    "check_damping",
    "colour_difference",
    "colour_lab",
    "colour_srgb",
    "colour_xyz",
    "covers_visible",
    "drude_conductivity",
    "drude_term",
    "hex_colour",
    "kramers_kronig_matrix",
    "kramers_kronig_real",
    "kramers_kronig_residual",
    "loss_function",
    "oblique_reflectivity",
    "optical_conductivity",
    "plasma_energy",
    "propagation_length",
    "quality_localised",
    "quality_propagating",
    "reflectivity",
    "refractive_index",
    "response_colour",
    "response_colour_or_nan",
    "screened_plasma_energy",
    "skin_depth",
    "sum_rule_fraction",
    "sum_rule_weight",
    "total_dielectric_function",
    "valence_electrons",
    "white_point",
]
