"""The files of one predicted material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dielectric_gnn import optics
from dielectric_gnn.export import Material, export
from dielectric_gnn.optics.plots import Spectrum, TensorSpectrum, response_figure, save_figure, tensor_figure
from dielectric_gnn.prediction.tensor_files import write_tensor
from dielectric_gnn.utils.files import write_columns


def write_material(
    stem: Path,
    energies: optics.FloatArray,
    spectrum: Spectrum,
    tensor: TensorSpectrum | None,
    summary: Mapping[str, Any],
    damping: float,
    draw: bool,
    formats: Sequence[str],
    source: str,
) -> None:
    """Write the table of a material, and what else is asked for.

    Args:
        stem: Path without ending.
        energies: Photon energies (W,) in eV.
        spectrum: The response.
        tensor: The whole tensors, if they are to be written.
        summary: Its row of the summary, for the comments.
        damping: γ of the Drude term in eV.
        draw: Whether to draw pictures.
        formats: Names of `export.WRITERS`; of tensors, a file for each axis.
        source: The model in words, for these files.
    """
    comments = [f"{key}: {_shown(value)}" for key, value in summary.items() if value not in (None, "")]
    eps = optics.total_dielectric_function(energies, spectrum.eps_inter, spectrum.drude, damping)
    n, k = optics.refractive_index(eps)
    columns = {
        "energy_ev": energies,
        "eps_inter_re": spectrum.eps_inter.real,
        "eps_inter_im": spectrum.eps_inter.imag,
        "eps_re": eps.real,
        "eps_im": eps.imag,
        "n": n,
        "k": k,
        "reflectivity": optics.reflectivity(n, k),
    }
    if spectrum.spread is not None:
        columns["eps_inter_re_spread"] = spectrum.spread.eps_inter.real
        columns["eps_inter_im_spread"] = spectrum.spread.eps_inter.imag
    write_columns(_ending(stem, ".csv"), columns, comments)
    title = _title(summary)
    if draw:
        save_figure(response_figure(title, energies, spectrum, damping), _ending(stem, ".png"))
    if tensor is not None:
        write_tensor(_ending(stem, "_tensor.csv"), energies, tensor, comments, damping)
        if draw:
            save_figure(tensor_figure(title, energies, tensor, damping), _ending(stem, "_tensor.png"))
    material = Material(
        summary["material_id"],
        summary["formula"],
        source=source,
        damping_ev=damping,
        broadening_ev=summary["broadening_ev"],
    )
    if tensor is not None:
        axes = tensor.along_axes()
        inter, drude = np.stack([axis.eps_inter for axis in axes]), np.array([axis.drude for axis in axes])
        eps = optics.total_dielectric_function(energies, inter, drude, damping)
    export(stem.parent, energies, eps, material, formats)


def _ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _title(summary: Mapping[str, Any]) -> str:
    spread = f" ± {summary['drude_spread_ev']:.2f}" if summary["drude_spread_ev"] is not None else ""
    known = summary["drude_ev"]
    # Plain text: a title holds the id, in which a dollar sign is no mathematics.
    drude = "" if known is None else f": ω_D = {known:.2f}{spread} eV"
    return f"{summary['formula']} ({summary['material_id']}){drude}, predicted"
