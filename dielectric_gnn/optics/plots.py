"""Figures: predicted against calculated spectra, and the optical response of one material."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dielectric_gnn import optics
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.targets.irreducible import VOIGT
from dielectric_gnn.utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe-Ito colours, which colour-blind readers can distinguish.
_TRUE, _PREDICTED, _REFLECTIVITY = "#000000", "#d55e00", "#0072b2"
_AXIS_COLOURS = ("#0072b2", "#009e73", "#d55e00")
_ENERGY_LABEL = "photon energy (eV)"


PLAIN_TEXT: Mapping[str, Any] = {"parse_math": False, "usetex": False}
"""Options of texts that contain names from data, in which a dollar sign or a backslash is not mathematics."""

AXES = ("x", "y", "z")
"""The axes of the frame of the stored lattice."""


def comparison_figure(cases: Sequence[tuple[str, Spectrum, Spectrum]]) -> Figure:
    """Draw calculated against predicted interband spectra, one row per material, with colour swatches.

    Where both are tensors, their diagonals are drawn instead of the averages, a colour for each axis.

    Args:
        cases: Title (plain text), calculated and predicted spectrum of each material.
    """
    figure = _new_figure(9.0, 2.3 * len(cases) + 0.4)
    axes = figure.subplots(len(cases), 2, squeeze=False, sharex=True)
    for (re_axis, im_axis), (title, true, predicted) in zip(axes, cases, strict=True):
        for axis, part, name in ((re_axis, np.real, "Re"), (im_axis, np.imag, "Im")):
            _draw_spectra(axis, part, true, predicted)
            axis.set_ylabel(rf"{name} $\varepsilon_\mathrm{{inter}}$")
            axis.axhline(0, color="0.8", lw=0.6, zorder=0)
        re_axis.set_title(_shorten_title(title, 60), loc="left", fontsize=9, **PLAIN_TEXT)
        known = "not known" if np.isnan(true.drude) else f"{true.drude:.2f}"
        im_axis.set_title(rf"$\omega_\mathrm{{D}}$ {known} → {predicted.drude:.2f} eV", loc="left", fontsize=9)
        _draw_swatches(im_axis, [true.srgb, predicted.srgb], ["calculated", "predicted"])
    axes[0, 0].legend(frameon=False, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel(_ENERGY_LABEL)
        axis.set_xlim(cases[0][1].energies[0], cases[0][1].energies[-1])
    return figure


def _draw_spectra(axis: Axes, part: Callable[..., optics.FloatArray], true: Spectrum, predicted: Spectrum) -> None:
    energies = true.energies
    if true.tensor is None or predicted.tensor is None:
        axis.plot(energies, part(true.eps_inter), color=_TRUE, lw=1.2, label="calculated")
        axis.plot(energies, part(predicted.eps_inter), color=_PREDICTED, lw=1.2, label="predicted")
        return
    pairs = zip(AXES, _AXIS_COLOURS, true.tensor.eps_inter, predicted.tensor.eps_inter, strict=False)
    for name, colour, calculated, found in pairs:
        axis.plot(energies, part(calculated), color=colour, lw=1.2, label=f"{name}{name} calculated")
        axis.plot(energies, part(found), color=colour, lw=1.2, ls="--", label=f"{name}{name} predicted")


def tensor_figure(title: str, spectrum: Spectrum) -> Figure:
    """Draw the six components of ε_inter, and reflectivity and colour for light polarised along x, y and z.

    If these are not principal axes, reflectivity and colour are approximations from the diagonal, and the figure states
    it.

    Args:
        title: Title; plain text, in which `$` is not mathematics.
        spectrum: The response, with its tensors.

    Raises:
        InputError: The response has no tensors.
    """
    energies, spectra, tensor = spectrum.energies, spectrum.along_axes(), spectrum.require_tensor()
    figure = _new_figure(9.0, 6.0)
    figure.suptitle(_shorten_title(title, 110), fontsize=11, **PLAIN_TEXT)
    (real, imaginary), (mixed, mirror) = figure.subplots(2, 2, sharex=True)
    for name, colour, along in zip(AXES, _AXIS_COLOURS, spectra, strict=True):
        real.plot(energies, along.eps_inter.real, color=colour, label=rf"Re $\varepsilon_{{{name}{name}}}$")
        imaginary.plot(energies, along.eps_inter.imag, color=colour, label=rf"Im $\varepsilon_{{{name}{name}}}$")
        mirror.plot(energies, along.reflectivity, color=colour, label=f"R, {name}")
    for name, colour, component in zip(VOIGT[3:], _AXIS_COLOURS, tensor.eps_inter[3:], strict=True):
        mixed.plot(energies, component.real, color=colour, label=rf"Re $\varepsilon_{{{name}}}$")
        mixed.plot(energies, component.imag, color=colour, ls="--", label=rf"Im $\varepsilon_{{{name}}}$")
    # Off-diagonals that symmetry forbids are rounding errors: on the scale of the others they are zero.
    reach = 0.1 * float(np.abs(tensor.eps_inter[:3]).max())
    mixed.set_ylim(*(sign * max(reach, 1.2 * float(np.abs(tensor.eps_inter[3:]).max())) for sign in (-1, 1)))
    mirror.set_ylim(0, 1)
    _draw_swatches(mirror, [along.srgb for along in spectra], list(AXES))
    for axis, label in (
        (real, r"Re $\varepsilon_\mathrm{inter}$"),
        (imaginary, r"Im $\varepsilon_\mathrm{inter}$"),
        (mixed, r"$\varepsilon_\mathrm{inter}$, off-diagonal"),
        (mirror, "reflectivity" if tensor.has_principal_axes() else "reflectivity (approximate)"),
    ):
        axis.axhline(0, color="0.8", lw=0.6, zorder=0)
        # The swatches are in the upper right corner.
        place = "center right" if axis is mirror else "upper center"
        axis.legend(frameon=False, fontsize=8, loc=place, ncols=2 if axis is mixed else 1)
        axis.set_ylabel(label)
        axis.set_xlim(energies[0], energies[-1])
    for axis in (mixed, mirror):
        axis.set_xlabel(_ENERGY_LABEL)
    return figure


def response_figure(title: str, spectrum: Spectrum) -> Figure:
    """Draw interband and total ε, n and k, and reflectivity of one material, with its colour.

    Args:
        title: Title; plain text, in which `$` is not mathematics.
        spectrum: The response.
    """
    energies, n, k = spectrum.energies, spectrum.n, spectrum.k
    figure = _new_figure(9.0, 6.0)
    figure.suptitle(_shorten_title(title, 110), fontsize=11, **PLAIN_TEXT)
    (inter, total), (index, mirror) = figure.subplots(2, 2, sharex=True)
    for axis, values, label in (
        (inter, spectrum.eps_inter, r"\varepsilon_\mathrm{inter}"),
        (total, spectrum.eps, r"\varepsilon"),
    ):
        axis.plot(energies, values.real, color=_TRUE, label=rf"Re ${label}$")
        axis.plot(energies, values.imag, color=_PREDICTED, label=rf"Im ${label}$")
        if spectrum.std is not None:  # the title states the standard deviation of ω_D
            for part, colour in ((np.real, _TRUE), (np.imag, _PREDICTED)):
                low, high = (part(values) + sign * part(spectrum.std.eps_inter) for sign in (-1, 1))
                axis.fill_between(energies, low, high, color=colour, alpha=0.25, lw=0)
    # The Drude term diverges at zero energy: the limits of the axes follow from higher energies.
    above = energies > min(1.0, 0.5 * energies[-1])
    visible = spectrum.eps_inter[above]
    reach = 1.3 * max(5.0, float(np.abs([visible.real, visible.imag]).max()))
    total.set_ylim(-reach, reach)
    index.plot(energies, n, color=_TRUE, label="n")
    index.plot(energies, k, color=_PREDICTED, label="k")
    index.set_ylim(0, 1.3 * max(2.0, float(np.max([n[above], k[above]]))))
    mirror.plot(energies, spectrum.reflectivity, color=_REFLECTIVITY, label="reflectivity")
    if optics.covers_visible(energies):
        mirror.axvspan(*(optics.HC_EV_NM / np.array(optics.VISIBLE_NM)), color="0.92", zorder=0, label="visible")
    mirror.set_ylim(0, 1)
    _draw_swatches(mirror, [spectrum.srgb], ["colour"])
    for axis in (inter, total, index, mirror):
        axis.axhline(0, color="0.8", lw=0.6, zorder=0)
        axis.legend(frameon=False, fontsize=8, loc="upper center")
        axis.set_xlim(energies[0], energies[-1])
    for axis in (index, mirror):
        axis.set_xlabel(_ENERGY_LABEL)
    return figure


def _shorten_title(title: str, longest: int) -> str:
    """Return a title that fits above the axes; its end, which names the content, is kept."""
    if len(title) <= longest:
        return title
    head = longest // 2
    return f"{title[:head]}…{title[head + 1 - longest :]}"


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, atomically."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110))


def _new_figure(width: float, height: float) -> Figure:
    # Not pyplot: its global figures use memory, and need a display on some machines.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_swatches(axis: Axes, colours: Sequence[tuple[float, float, float] | None], labels: Sequence[str]) -> None:
    """Draw rectangles of the given colours in the upper right corner of an axis."""
    from matplotlib.patches import Rectangle

    for place, (colour, label) in enumerate(zip(reversed(colours), reversed(labels), strict=True)):
        left = 0.84 - 0.17 * place
        if colour is not None:
            patch = Rectangle((left, 0.72), 0.14, 0.22, facecolor=colour, edgecolor="0.3", lw=0.6)
            patch.set_transform(axis.transAxes)
            axis.add_patch(patch)
            axis.text(left + 0.07, 0.69, label, fontsize=7, ha="center", va="top", transform=axis.transAxes)
