from dataclasses import replace

import numpy as np
import pytest

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.testing import crystal, labelled, sample_crystals
from dielectric_gnn.utils.errors import RecordError


def test_average_is_the_mean_of_eps_and_the_rms_of_drude() -> None:
    eps = np.array([[1 + 1j] * 2001, [2 + 0j] * 2001, [6 + 5j] * 2001])
    average, drude = OpticalLabels(eps, np.array([3.0, 4.0, 5.0])).average()
    np.testing.assert_allclose(average, 3 + 2j)
    assert drude == pytest.approx(np.sqrt((9 + 16 + 25) / 3))


def test_axes_are_kept(metals: list[CrystalRecord]) -> None:
    hexagonal = next(record for record in metals if record.material_id == "gpaw-hcp-Be")
    assert hexagonal.labels is not None
    assert hexagonal.labels.eps_inter.shape == (3, 2001)
    np.testing.assert_allclose(hexagonal.labels.drude, [6.71, 6.71, 2.97], atol=5e-3)


def test_formula_is_reduced() -> None:
    assert sample_crystals()[2].formula == "Cu3Au"


CUBE = [[3.0, 0, 0], [0, 3, 0], [0, 0, 3]]


@pytest.mark.parametrize(
    ("lattice", "numbers", "fractional", "message"),
    [
        (CUBE, [], [], "no atoms"),
        (CUBE, [84], [[0, 0, 0]], "84 is outside 1 to 83"),
        (CUBE, [0], [[0, 0, 0]], "0 is outside 1 to 83"),
        (CUBE, [29, 29], [[0, 0, 0], [0, 0, 0.99]], "atoms 0 and 1 are 0.030 Å apart"),
        ([[3.0, 0, 0], [0, 3, 0], [3, 3, 0]], [29], [[0, 0, 0]], "coplanar"),
        ([[np.nan, 0, 0], [0, 3, 0], [0, 0, 3]], [29], [[0, 0, 0]], "NaN"),
        (CUBE, [29], [[0, 0, 0], [0.5, 0.5, 0.5]], r"positions of shape \(2, 3\)"),
    ],
)
def test_bad_structures_are_refused(
    lattice: list[list[float]], numbers: list[int], fractional: list[list[float]], message: str
) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        crystal("sample", lattice, numbers, fractional)
    assert str(caught.value).startswith("sample:")


def test_atom_may_neighbour_its_own_images_but_not_overlap_them() -> None:
    with pytest.raises(RecordError, match="apart"):
        crystal("thin", [[0.4, 0, 0], [0, 5, 0], [0, 0, 5]], [29], [[0, 0, 0]])


def broken(change: str) -> OpticalLabels:
    labels = labelled(sample_crystals()[0]).labels
    assert labels is not None
    eps, drude = labels.eps_inter.copy(), labels.drude.copy()
    if change == "nan":
        eps[1, 7] = np.nan
    elif change == "gain":
        eps[2, 100] -= 3j
    elif change == "noise":
        eps[:, 100:] = eps[:, 100:].real - 5e-3j
    elif change == "drude":
        drude[0] = -1.0
    elif change == "half a drude":
        drude[0] = np.nan
    elif change == "no drude":
        drude[:] = np.nan
    elif change == "short":
        eps = eps[:, :-1]
    return replace(labels, eps_inter=eps, drude=drude)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", "1 NaN or infinite"),
        ("gain", r"Im eps falls to -\d"),
        ("drude", "drude_freq is"),
        ("half a drude", "drude_freq is"),
        ("short", r"\(3, 2000\)"),
    ],
)
def test_bad_labels_are_refused(change: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        replace(sample_crystals()[0], labels=broken(change))


def test_nan_in_all_components_is_no_drude_frequency() -> None:
    labels = broken("no drude")
    assert not labels.has_drude and broken("noise").has_drude
    assert replace(sample_crystals()[0], labels=labels).labels is labels
    average, drude = labels.average()
    assert np.isnan(drude) and np.isfinite(average).all()


def test_numerical_noise_below_zero_is_tolerated() -> None:
    assert replace(sample_crystals()[0], labels=broken("noise")).labels is not None
