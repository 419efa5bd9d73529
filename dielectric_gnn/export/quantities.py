"""All optical quantities that follow from ε(ω), with units in their names."""

from __future__ import annotations

from dielectric_gnn import optics
from dielectric_gnn.optics import ComplexArray, FloatArray
from dielectric_gnn.utils.json_values import finite_or_none


def spectra(energies: FloatArray, eps: ComplexArray) -> dict[str, FloatArray]:
    """Return spectra by `name [unit]`; the unit of a dimensionless quantity is 1.

    Quantities that are not defined at an energy (figures of merit where Re ε ≥ 0) are NaN there.

    Shapes:
        energies (W,) > 0, eps (W,) → (W,) each.
    """
    n, k = optics.refractive_index(eps)
    conductivity = optics.optical_conductivity(energies, eps)
    return {
        "energy [eV]": energies,
        "wavelength [um]": optics.HC_EV_NM / 1e3 / energies,
        "eps_re [1]": eps.real,
        "eps_im [1]": eps.imag,
        "n [1]": n,
        "k [1]": k,
        "reflectivity_normal [1]": optics.reflectivity(n, k),
        "absorption_coefficient [1/cm]": optics.absorption_coefficient(energies, eps),
        "skin_depth_field [nm]": optics.skin_depth(energies, eps),
        "conductivity_re [S/m]": conductivity.real,
        "conductivity_im [S/m]": conductivity.imag,
        "loss_function [1]": optics.loss_function(eps),
        "quality_localised_plasmon [1]": optics.quality_localised(eps),
        "quality_propagating_plasmon [1]": optics.quality_propagating(eps),
        "propagation_length_intensity [nm]": optics.propagation_length(energies, eps),
    }


def single_values(energies: FloatArray, eps: ComplexArray) -> dict[str, float | str | None]:
    """Return single values of the material by `name [unit]`; None where undefined.

    Colours are those of a thick polished sample under D65 for the CIE 1931 2° observer; they need 380–780 nm.
    """
    plasma = finite_or_none(float(optics.screened_plasma_energy(energies, eps)))
    values: dict[str, float | str | None] = {"screened_plasma_energy [eV]": plasma}
    lab: list[float | None] = [None, None, None]
    colour = None
    if optics.covers_visible(energies):
        xyz = optics.colour_xyz(energies, optics.reflectivity(*optics.refractive_index(eps)))
        lab = optics.colour_lab(xyz).tolist()
        colour = optics.hex_colour(optics.colour_srgb(xyz))
    names = ("lab_lightness_d65_2deg [1]", "lab_a_d65_2deg [1]", "lab_b_d65_2deg [1]")
    return {**values, **dict(zip(names, lab, strict=True)), "srgb_d65_2deg [hex]": colour}
