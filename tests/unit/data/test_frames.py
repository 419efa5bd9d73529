"""Which tensors symmetry allows, and labels in a wrong frame."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.core import Lattice

from dielectric_gnn.data.frames import allowed_tensors, with_full_tensors
from dielectric_gnn.data.label_options import LabelOptions, read_records
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources import ExampleMetals, RecordSource
from dielectric_gnn.data.sources.base import OnError
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.targets import anisotropy_rows
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import to_components, to_matrices
from dielectric_gnn.testing import crystal, random_rotation, transformed
from dielectric_gnn.utils.errors import RecordError
from tests.crystals import CUBIC, UNIAXIAL, prototype

GRID = EnergyGrid(0, 20, 21)
SHAPE = 1 / (1 + np.arange(GRID.num))
"""Some spectrum."""


def labelled(record: CrystalRecord, eps: list[float], drude: list[float]) -> CrystalRecord:
    """The crystal with the components of a static tensor, the same at all energies but for the size."""
    spectra = np.outer(eps, SHAPE) * (1 + 1j)
    return replace(record, labels=OpticalLabels(spectra, np.array(drude, dtype=np.float64), GRID, 0.1))


def tensors(record: CrystalRecord) -> NDArray[np.complex128]:
    """ε at the first energy as a matrix."""
    assert record.labels is not None
    return to_matrices(record.labels.eps_inter[:, 0])


@pytest.mark.parametrize(
    ("name", "dimension"), [("fcc", 1), ("B20", 1), ("hcp", 2), ("I-4", 2), ("Te", 2), ("Pmm2", 3), ("Pm", 4)]
)
def test_point_group_leaves_the_known_number_of_constants(name: str, dimension: int) -> None:
    assert allowed_tensors(prototype(name)).shape == (6, dimension)


def test_triclinic_crystal_may_have_any_tensor() -> None:
    cell = crystal("a", [[4.1, 0.2, 0], [0.7, 4.4, 0.3], [0.1, 0.9, 5.0]], [57, 8], [[0, 0, 0], [0.4, 0.3, 0.6]])
    assert allowed_tensors(cell).shape == (6, 6)


@pytest.mark.parametrize("name", UNIAXIAL)
def test_diagonal_of_a_uniaxial_crystal_is_the_whole_tensor(name: str) -> None:
    record = with_full_tensors(labelled(prototype(name), [5, 5, 8], [3, 3, 4]))
    assert record.labels is not None and not record.labels.diagonal_only
    np.testing.assert_allclose(tensors(record), np.diag([5, 5, 8]) * (1 + 1j), atol=1e-12)
    np.testing.assert_allclose(record.labels.drude, [3, 3, 4, 0, 0, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("name", "eps", "drude", "named"),
    [
        ("hcp", [8, 5, 5], [3, 3, 3], "eps_inter"),
        ("hcp", [5, 5, 8], [4, 3, 3], "drude_freq"),
        ("fcc", [5, 5, 8], [3, 3, 3], "eps_inter"),
    ],
)
def test_turned_label_is_rejected(name: str, eps: list[float], drude: list[float], named: str) -> None:
    with pytest.raises(RecordError, match=rf"{named} of {name} contradicts the symmetry.*frame of the stored lattice"):
        with_full_tensors(labelled(prototype(name), eps, drude))


def test_noise_of_a_cubic_crystal_is_averaged_away() -> None:
    record = with_full_tensors(labelled(prototype("fcc"), [5.0, 5.05, 5.1], [3, 3, 3.01]))
    np.testing.assert_allclose(tensors(record), 5.05 * np.eye(3) * (1 + 1j), atol=1e-12)


def test_off_diagonals_follow_from_the_diagonal_where_symmetry_says_so() -> None:
    """A uniaxial crystal in a general frame: two constants, three diagonal elements."""
    rotation = random_rotation(3)
    whole = rotation @ np.diag([5.0, 5.0, 8.0]) @ rotation.T
    square = rotation @ np.diag([9.0, 9.0, 16.0]) @ rotation.T
    record = transformed(prototype("L1_0"), rotation, np.zeros(3))
    record = with_full_tensors(labelled(record, np.diag(whole).tolist(), np.sqrt(np.diag(square)).tolist()))
    assert record.labels is not None and not record.labels.diagonal_only
    np.testing.assert_allclose(tensors(record), whole * (1 + 1j), atol=1e-9)
    root = to_matrices(record.labels.drude)
    np.testing.assert_allclose(root @ root, square, atol=1e-9)


def test_axis_along_the_body_diagonal_is_not_determined_by_the_diagonal() -> None:
    """Then xx = yy = zz, whatever the anisotropy."""
    axis = np.ones(3) / np.sqrt(3)
    turn = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])
    record = transformed(prototype("hcp"), turn.T, np.zeros(3))
    np.testing.assert_allclose(turn.T @ [0, 0, 1], axis)
    record = with_full_tensors(labelled(record, [6, 6, 6], [3, 3, 3]))
    assert record.labels is not None and record.labels.diagonal_only
    *_, known = anisotropy_rows(record.labels)
    assert known.tolist() == [False, False, True, False, True]


AXIS = np.ones(3) / np.sqrt(3)


def rhombohedral(lattice: NDArray[np.float64]) -> CrystalRecord:
    """A polar crystal with its threefold axis along the body diagonal, if the lattice says so."""
    return crystal("R3m", lattice.tolist(), [52, 83], [[0, 0, 0], [0.47, 0.47, 0.47]])


def cyclic(a: float, b: float) -> NDArray[np.float64]:
    """Lattice vectors (a, b, b), (b, a, b), (b, b, a)."""
    return (a - b) * np.eye(3) + b


@pytest.mark.parametrize("noise", [0, 1e-6, 1e-5, 1e-4, 1e-3])
def test_rounded_lattices_do_not_make_off_diagonals_known(noise: float) -> None:
    """The diagonal of a tensor about the body diagonal says nothing of it, but a rounded lattice turns the axis."""
    eps, square = 5 * np.eye(3) + 3 * np.outer(AXIS, AXIS), 9 * np.eye(3) + 7 * np.outer(AXIS, AXIS)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        record = rhombohedral(cyclic(0.4, 2.9) + noise * rng.normal(size=(3, 3)))
        stated = np.diag(eps) + 1e-3 * rng.normal(size=3), np.sqrt(np.diag(square) + 1e-3 * rng.normal(size=3))
        labels = with_full_tensors(labelled(record, *(part.tolist() for part in stated))).labels
        assert labels is not None and labels.diagonal_only
        assert not labels.eps_inter[3:].any() and not labels.drude[3:].any()
        np.testing.assert_allclose(labels.eps_inter[:3, 0].real, 6, atol=5e-3)


@pytest.mark.parametrize(("degrees", "determined"), [(60, True), (75, True), (85, False), (95, False)])
def test_axes_near_the_body_diagonal_keep_the_diagonal_at_least(degrees: float, determined: bool) -> None:
    """In the usual setting of rhombohedral cells the axis is oblique; towards 90° it nears the body diagonal."""
    lattice = np.array(Lattice.rhombohedral(4.2, degrees).matrix)
    axis = lattice.sum(axis=0) / np.linalg.norm(lattice.sum(axis=0))
    whole = 5 * np.eye(3) + 3 * np.outer(axis, axis)
    roots = np.sqrt(np.diag(9 * np.eye(3) + 7 * np.outer(axis, axis))).tolist()
    record = with_full_tensors(labelled(rhombohedral(lattice), np.diag(whole).tolist(), roots))
    assert record.labels is not None and record.labels.diagonal_only != determined
    expected = whole if determined else np.diag(np.diag(whole))
    np.testing.assert_allclose(tensors(record), expected * (1 + 1j), atol=1e-5)


def test_diagonal_that_no_passive_tensor_has_is_rejected() -> None:
    """1 + s (3 n nᵀ − 1) has the eigenvalue 1 − s, though its diagonal is positive."""
    lattice = np.array(Lattice.rhombohedral(4.2, 75).matrix)
    axis = lattice.sum(axis=0) / np.linalg.norm(lattice.sum(axis=0))
    for name, of_eps, of_drude in (("Im eps_inter", 1.5, 0.1), ("drude_freq squared", 0.1, 1.5)):
        eps, square = (1 + s * (3 * axis**2 - 1) for s in (of_eps, of_drude))
        assert min(eps.min(), square.min()) > 0
        with pytest.raises(RecordError, match=rf"{name} of R3m.*eigenvalue of -0\.5.*frame of the stored lattice"):
            with_full_tensors(labelled(rhombohedral(lattice), eps.tolist(), np.sqrt(square).tolist()))


def test_small_anisotropy_in_a_wrong_frame_is_rejected() -> None:
    with pytest.raises(RecordError, match="eps_inter of hcp contradicts"):
        with_full_tensors(labelled(prototype("hcp"), [5.3, 5, 5], [3, 3, 3]))


def test_structure_without_symmetry_group_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even P1 is a group: to find none is to fail."""
    monkeypatch.setattr("spglib.get_symmetry_dataset", lambda *args, **kwargs: None)
    with pytest.raises(RecordError, match=r"spglib finds no space group.*hcp.*data\.tensors false"):
        with_full_tensors(labelled(prototype("hcp"), [5, 5, 8], [3, 3, 4]))


def test_monoclinic_diagonal_is_kept_without_its_off_diagonal() -> None:
    record = with_full_tensors(labelled(prototype("Pm"), [5, 6, 8], [3, 4, 5]))
    assert record.labels is not None and record.labels.diagonal_only
    np.testing.assert_allclose(np.diag(tensors(record)).real, [5, 6, 8])


def test_whole_tensors_are_checked_in_any_frame() -> None:
    rotation = random_rotation(5)
    turned = transformed(prototype("hcp"), rotation, np.zeros(3))
    eps = rotation @ np.diag([5.0, 5.0, 8.0]) @ rotation.T
    components = to_components(eps).tolist()
    record = with_full_tensors(labelled(turned, components, [3, 3, 3, 0, 0, 0]))
    np.testing.assert_allclose(tensors(record), eps * (1 + 1j), atol=1e-9)
    with pytest.raises(RecordError, match="contradicts"):
        with_full_tensors(labelled(prototype("hcp"), components, [3, 3, 3, 0, 0, 0]))


@pytest.mark.parametrize("name", [*CUBIC, "hcp", "Pmm2", "Pm"])
def test_averages_stay_averages(name: str) -> None:
    cubic = name in CUBIC
    before = labelled(prototype(name), [5, 5, 5 if cubic else 8], [3, 3, 3 if cubic else 4])
    after = with_full_tensors(before)
    assert before.labels is not None and after.labels is not None
    for one, other in zip(before.labels.average(), after.labels.average(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)


def test_averages_and_bare_crystals_pass_through() -> None:
    bare, average = prototype("hcp"), labelled(prototype("hcp"), [5], [3])
    assert with_full_tensors(bare) is bare and with_full_tensors(average) is average
    assert average.labels is not None
    deviator, root, known = anisotropy_rows(average.labels)
    assert not known.any() and not deviator.any() and root.tolist() == [3, 0, 0, 0, 0, 0]


def test_embedded_metals_have_whole_tensors(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records(map(with_full_tensors, metals), 4.0, tensors=True)
    plain = CrystalStore.from_records(metals, 4.0)
    assert store.anisotropy is not None and store.anisotropy.component_mask.all()
    anisotropic = np.abs(store.anisotropy.eps_deviator).max(axis=(1, 2, 3)) > 1e-3
    named = [("hcp" in name or "l10" in name) for name in store.material_ids]
    assert anisotropic.tolist() == named and sum(named) == 17
    assert store.eps_inter is not None and plain.eps_inter is not None
    np.testing.assert_allclose(store.eps_inter, plain.eps_inter, atol=1e-5)
    graph = store.gather([named.index(True)])
    assert graph.anisotropy is not None and graph.anisotropy.eps_inter.shape == (1, 5, 2001, 2)


class Turned(RecordSource):
    """The embedded metals; the hexagonal ones with labels turned by a quarter."""

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        for record in ExampleMetals(parts=1).records():
            assert record.labels is not None
            if "hcp" in record.material_id:
                turned = replace(record.labels, eps_inter=record.labels.eps_inter[[2, 1, 0]])
                record = replace(record, labels=turned)
            yield record


def test_bulk_reading_lists_the_turned_ones() -> None:
    source = Turned()
    kept = list(read_records(source, "skip", LabelOptions(tensors=True)))
    assert len(kept) == 102 - len(source.rejects)
    assert {error.source for error in source.rejects} == {"embedded metals"} and len(source.rejects) == 5
    with pytest.raises(RecordError, match="gpaw-hcp-Al"):
        list(read_records(Turned(), "raise", LabelOptions(tensors=True)))
    assert len(list(read_records(Turned(), "raise", LabelOptions()))) == 102
