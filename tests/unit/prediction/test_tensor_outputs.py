"""What figures and files show of tensors: the diagonal axis by axis, and where that is an approximation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn import optics
from dielectric_gnn.optics.plots import AXES, comparison_figure, tensor_figure
from dielectric_gnn.optics.spectrum import Spectrum, TensorSpectrum
from dielectric_gnn.prediction.tensor_files import write_tensor
from dielectric_gnn.targets.grid import EnergyGrid

ENERGIES = EnergyGrid(0, 20, 21).energies()


def response(seed: int, off_diagonal: float = 0.0) -> Spectrum:
    """Passive, different along every axis."""
    rng = np.random.default_rng(seed)
    eps = rng.uniform(1, 5, (6, 21)) + 1j * rng.uniform(0.1, 5, (6, 21))
    square = rng.uniform(10, 30, 6)
    eps[3:] *= off_diagonal
    square[3:] *= off_diagonal
    drude = float(np.sqrt(square[:3].mean()))
    return Spectrum(ENERGIES, eps[:3].mean(axis=0), drude, tensor=TensorSpectrum(eps, square))


def test_comparison_draws_the_diagonal_axis_by_axis() -> None:
    true, predicted = response(0), response(1)
    assert true.tensor is not None and predicted.tensor is not None
    for axes, part in zip(comparison_figure([("Mg", true, predicted)]).axes, (np.real, np.imag), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for place, name in enumerate(AXES):
            for tensor, words, style in ((true.tensor, "calculated", "-"), (predicted.tensor, "predicted", "--")):
                line = lines[f"{name}{name} {words}"]
                np.testing.assert_array_equal(line.get_xdata(), ENERGIES)
                np.testing.assert_array_equal(line.get_ydata(), part(tensor.eps_inter[place]))
                assert line.get_linestyle() == style


def test_comparison_with_an_average_draws_averages() -> None:
    true, predicted = response(0), replace(response(1), tensor=None)
    real, _ = comparison_figure([("Mg", true, predicted)]).axes
    lines = {line.get_label(): line for line in real.get_lines()}
    np.testing.assert_array_equal(lines["predicted"].get_ydata(), predicted.eps_inter.real)
    np.testing.assert_array_equal(lines["calculated"].get_ydata(), true.eps_inter.real)


@pytest.mark.parametrize(("off_diagonal", "label"), [(0.0, "reflectivity"), (0.5, "reflectivity (approximate)")])
def test_tensor_figure_shows_six_components_and_three_reflectivities(off_diagonal: float, label: str) -> None:
    spectrum = response(2, off_diagonal)
    tensor = spectrum.require_tensor()
    figure = tensor_figure("Mg", spectrum)
    *_, mirror = figure.axes
    assert all(axis.get_ylabel() for axis in figure.axes) and mirror.get_ylabel() == label
    lines = {line.get_label(): line.get_ydata() for axis in figure.axes for line in axis.get_lines()}
    for place, name in enumerate(("xx", "yy", "zz", "yz", "xz", "xy")):
        for part, values in (("Re", tensor.eps_inter.real), ("Im", tensor.eps_inter.imag)):
            np.testing.assert_array_equal(lines[rf"{part} $\varepsilon_{{{name}}}$"], values[place])
    for place, name in enumerate(AXES):
        drude = float(np.sqrt(tensor.drude_square[place]))
        eps = optics.total_dielectric_function(ENERGIES, tensor.eps_inter[place], drude, 0.1)
        np.testing.assert_allclose(lines[f"R, {name}"], optics.reflectivity(*optics.refractive_index(eps)))
    figure.draw_without_rendering()
    legend = mirror.get_legend().get_window_extent()
    drawn = [artist.get_window_extent() for artist in (*mirror.patches, *mirror.texts)]
    assert len(drawn) == 6 and not any(legend.overlaps(one) for one in drawn)


@pytest.mark.parametrize("off_diagonal", [0.0, 1e-6, 0.5])
def test_file_says_where_reflectivities_are_approximate(tmp_path: Path, off_diagonal: float) -> None:
    write_tensor(tmp_path / "t.csv", response(3, off_diagonal), ["formula: Mg"])
    notes = [line for line in (tmp_path / "t.csv").read_text().splitlines() if "approximate" in line]
    assert notes == (
        ["# reflectivity_x, _y, _z: approximate, from the diagonal alone (x, y, z are not principal axes)"]
        if off_diagonal == 0.5
        else []
    )
