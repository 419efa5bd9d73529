"""The files of one predicted material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dielectric_gnn.export import Material, export
from dielectric_gnn.optics.plots import response_figure, save_figure, tensor_figure
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.prediction.tensor_files import write_tensor
from dielectric_gnn.utils.files import write_columns


def write_material(
    stem: Path, spectrum: Spectrum, tensors: bool, summary: Mapping[str, Any], draw: bool, formats: Sequence[str]
) -> None:
    """Write the table of a material, and on request figures, tensors and export formats.

    Args:
        stem: Path without ending.
        spectrum: The response.
        tensors: Whether to write its tensors, too.
        summary: Its row of the summary, for the comments.
        draw: Whether to draw figures.
        formats: Names of `export.WRITERS`; with tensors, one file for each axis.
    """
    comments = [f"{key}: {_format_value(value)}" for key, value in summary.items() if value not in (None, "")]
    write_columns(_with_ending(stem, ".csv"), spectrum.columns(), comments)
    title = _title(summary)
    if draw:
        save_figure(response_figure(title, spectrum), _with_ending(stem, ".png"))
    if tensors:
        write_tensor(_with_ending(stem, "_tensor.csv"), spectrum, comments)
        if draw:
            save_figure(tensor_figure(title, spectrum), _with_ending(stem, "_tensor.png"))
    material = Material(
        summary["material_id"],
        summary["formula"],
        source=spectrum.source,
        damping_ev=spectrum.damping,
        broadening_ev=summary["broadening_ev"],
    )
    eps = np.stack([axis.eps for axis in spectrum.along_axes()]) if tensors else spectrum.eps
    export(stem.parent, spectrum.energies, eps, material, formats)


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _format_value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _title(summary: Mapping[str, Any]) -> str:
    std = f" ± {summary['drude_std_ev']:.2f}" if summary["drude_std_ev"] is not None else ""
    value = summary["drude_ev"]
    # Plain text: the title contains the id, in which a dollar sign does not begin mathematics.
    drude = "" if value is None else f": ω_D = {value:.2f}{std} eV"
    return f"{summary['formula']} ({summary['material_id']}){drude}, predicted"
