"""The invented crystals: reproducible one by one, and their response causal, passive, covariant and smooth."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.sources.prototypes import METALS, PROTOTYPES, SHORTEST, random_structure
from dielectric_gnn.data.sources.synthetic_response import RANGE, SQUARED_PLASMA_ENERGY, synthetic_labels
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import to_components, to_matrices
from dielectric_gnn.testing import random_rotation
from dielectric_gnn.utils.errors import InputError

GRID = EnergyGrid(0, 20, 401)
GAMMA = 0.1


@pytest.fixture(scope="module")
def rattled() -> list[CrystalRecord]:
    """Sixty crystals without symmetry."""
    return list(SyntheticMetals(60, seed=5, rattle=0.05).records())


def whole(record: CrystalRecord) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """ε (W, 3, 3) and ω_D² (3, 3)."""
    assert record.labels is not None
    root = to_matrices(record.labels.drude)
    return to_matrices(record.labels.eps_inter), root @ root


def response(
    lattice: NDArray[np.float64], numbers: NDArray[np.int64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Everything the model says of a crystal, as numbers (6, 2 W + 1)."""
    labels = synthetic_labels(lattice, numbers, positions, GRID, GAMMA)
    square = to_matrices(labels.drude) @ to_matrices(labels.drude)
    return np.column_stack([labels.eps_inter.real, labels.eps_inter.imag, to_components(square)])


def turned(values: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    return to_components(rotation @ to_matrices(values) @ rotation.T)


def test_each_crystal_depends_on_seed_and_number_alone() -> None:
    few, many = SyntheticMetals(3), SyntheticMetals(40)
    for one, other in zip(few.records(), many.records(), strict=False):
        assert pickle.dumps(one) == pickle.dumps(other)
    again = pickle.loads(pickle.dumps(many)).crystal(2)
    assert again.material_id == "synthetic-0-000002" and again.metadata["synthetic"] is True
    first = next(few.records())
    assert again.labels is not None and again.labels.broadening == 0.1 and again.labels.num_components == 6
    assert SyntheticMetals(1, seed=1).crystal(0).positions.shape != first.positions.shape or not np.array_equal(
        SyntheticMetals(1, seed=1).crystal(0).lattice, first.lattice
    )
    assert len(list(many.records())) == many.size() == 40 and many.split() is None


def test_structures_are_sensible_and_of_all_types() -> None:
    drawn = [random_structure(np.random.default_rng((9, number))) for number in range(600)]
    assert {structure.prototype for structure in drawn} == {prototype.name for prototype in PROTOTYPES}
    assert {int(z) for structure in drawn for z in structure.atomic_numbers} == set(METALS)
    assert {structure.atomic_numbers.size for structure in drawn} == {1, 2, 3, 4, 5, 6, 8, 12}
    for structure in drawn:
        from vesin import NeighborList

        search = NeighborList(cutoff=RANGE, full_list=True)
        i, j, d = search.compute(structure.positions, structure.lattice, periodic=True, quantities="ijd")
        radii = np.array([METALS[int(z)].radius for z in structure.atomic_numbers])
        assert (d / (radii[i] + radii[j])).min() > SHORTEST - 1e-9
        volume = abs(np.linalg.det(structure.lattice)) / len(radii)
        assert len(i) and 6 < volume < 130


@pytest.mark.filterwarnings("ignore::DeprecationWarning:spglib")
@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda prototype: prototype.name)
def test_prototypes_have_the_symmetry_of_their_names(prototype: object) -> None:
    """Space groups, as crystallography knows these structure types."""
    from spglib import get_symmetry_dataset

    groups = {
        "A1": 225, "A2": 229, "A6": 139, "A3": 194, "A3'": 194, "B1": 225, "B2": 221, "L1_0": 123, "B8_1": 194,
        "B19": 51, "L1_2": 221, "D0_19": 194, "D0_22": 139, "A15": 223, "C32": 191, "C11_b": 139, "C15": 227,
        "C14": 194, "D2_d": 191, "C1_b": 216, "L2_1": 225, "E2_1": 221, "D1_3": 139,
    }  # fmt: skip
    for number in range(2000):
        structure = random_structure(np.random.default_rng((1, number)))
        if structure.prototype == prototype.name:  # type: ignore[attr-defined]
            break
    fractional = structure.positions @ np.linalg.inv(structure.lattice)
    dataset = get_symmetry_dataset(
        (structure.lattice.tolist(), fractional.tolist(), structure.atomic_numbers.tolist()), symprec=1e-4
    )
    assert dataset.number == groups[structure.prototype.split()[0]]


def test_response_is_passive_in_every_direction(rattled: list[CrystalRecord]) -> None:
    for record in rattled:
        eps, drude = whole(record)
        assert np.linalg.eigvalsh(eps.imag).min() > -1e-10
        assert np.linalg.eigvalsh(drude).min() >= 0
        np.testing.assert_allclose(eps.imag[0], 0, atol=1e-12)


def test_response_is_causal() -> None:
    """Kramers and Kronig: the real part follows from the imaginary part, by the rule of Maclaurin on a long grid."""
    structure = random_structure(np.random.default_rng(3), rattle=0.05)
    grid = EnergyGrid(0, 400, 40001)
    eps = synthetic_labels(structure.lattice, structure.atomic_numbers, structure.positions, grid, GAMMA).eps_inter
    energies = grid.energies()
    for k in (101, 250, 400, 1000):
        other = np.arange(1 - k % 2, grid.num, 2)
        integrand = energies[other] * eps[:, other].imag / (energies[other] ** 2 - energies[k] ** 2)
        expected = 2 / np.pi * integrand.sum(axis=1) * 2 * grid.spacing
        identity = np.array([1, 1, 1, 0, 0, 0])
        np.testing.assert_allclose(eps[:, k].real - identity, expected, rtol=2e-3, atol=2e-3)


def test_sum_rule() -> None:
    """At high energies ε − 1 falls as −Ω² / ω², with Ω² that of a few electrons per atom."""
    for number in range(20):
        structure = random_structure(np.random.default_rng(number))
        grid = EnergyGrid(0, 4000, 3)
        eps = synthetic_labels(structure.lattice, structure.atomic_numbers, structure.positions, grid, GAMMA).eps_inter
        square = (1 - eps[:3, 2].real.mean()) * 4000**2
        electrons = square * abs(np.linalg.det(structure.lattice)) / SQUARED_PLASMA_ENERGY
        assert 0.02 < electrons / structure.atomic_numbers.size < 20


def test_tensor_turns_with_the_crystal(rattled: list[CrystalRecord]) -> None:
    for number, record in enumerate(rattled[:20]):
        rotation = random_rotation(number) * (-1) ** number
        expected = turned(response(record.lattice, record.atomic_numbers, record.positions), rotation)
        found = response(record.lattice @ rotation.T, record.atomic_numbers, record.positions @ rotation.T + 0.3)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_supercell_and_order_of_atoms_do_not_matter(rattled: list[CrystalRecord]) -> None:
    for record in rattled[:10]:
        expected = response(record.lattice, record.atomic_numbers, record.positions)
        numbers = np.concatenate([record.atomic_numbers, record.atomic_numbers])[::-1]
        positions = np.concatenate([record.positions, record.positions + record.lattice[1]])[::-1]
        doubled = record.lattice * np.array([1, 2, 1])[:, None]
        np.testing.assert_allclose(response(doubled, numbers, positions), expected, rtol=1e-9, atol=1e-9)


def steps(size: float) -> Iterator[float]:
    yield from (-size, 0.0, size)


@pytest.mark.parametrize("what", ["atom", "strain", "neighbour leaves"])
def test_response_is_smooth(rattled: list[CrystalRecord], what: str) -> None:
    """Second differences shrink as the square of the step, also where a neighbour passes the range."""
    rng = np.random.default_rng(1)
    for record in rattled[:10]:
        lattice, numbers, positions = record.lattice, record.atomic_numbers, record.positions
        shift, strain = rng.standard_normal(positions.shape), rng.standard_normal((3, 3)) / 10
        if what == "neighbour leaves":  # one atom, with images at the range exactly
            lattice, numbers = RANGE / np.sqrt(2) * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), numbers[:1]
            positions, strain, shift = np.zeros((1, 3)), np.eye(3), np.zeros((1, 3))
        if what == "atom":
            strain = np.zeros((3, 3))

        def at(step: float, cell=lattice, z=numbers, start=positions, move=shift, bend=strain) -> NDArray[np.float64]:
            deformed = np.eye(3) + step * bend
            return response(cell @ deformed, z, (start + step * move) @ deformed)

        second = {h: np.abs(at(h) - 2 * at(0) + at(-h)).max() for h in (4e-4, 2e-4)}
        assert second[2e-4] < 0.3 * second[4e-4] + 1e-7


def test_labels_pass_the_check_of_frames_unchanged() -> None:
    for record in SyntheticMetals(60).records():
        after = with_full_tensors(record)
        assert after.labels is not None and record.labels is not None and not after.labels.diagonal_only
        np.testing.assert_allclose(after.labels.eps_inter, record.labels.eps_inter, atol=1e-6)
        np.testing.assert_allclose(after.labels.drude, record.labels.drude, atol=1e-6)


def test_spectra_are_varied_and_of_the_size_of_real_ones() -> None:
    records = list(SyntheticMetals(200).records())
    averages = [record.labels.average() for record in records if record.labels]
    peaks = np.array([eps.imag.max() for eps, _ in averages])
    drude = np.array([drude for _, drude in averages])
    assert 5 < np.median(peaks) < 60 and peaks.max() < 500
    assert 3 < np.median(drude) < 7 and drude.std() > 0.5
    anisotropy = [np.abs(r.labels.eps_inter[0] - r.labels.eps_inter[2]).max() for r in records if r.labels]
    assert np.mean(np.array(anisotropy) > 1) > 0.2


def test_mistakes() -> None:
    for options, message in (
        ({"num": 0}, "num 0 and seed 0, expected at least 1"),
        ({"num": 1, "seed": -1}, "seed -1"),
        ({"num": 1, "rattle": 1.0}, "rattle is 1.0 Å, expected 0 to 0.2"),
        ({"num": 1, "broadening_ev": 0.0}, "broadening_ev is 0.0 eV"),
    ):
        with pytest.raises(InputError, match=message):
            SyntheticMetals(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="atomic number 8 has no synthetic response"):
        synthetic_labels(4 * np.eye(3), np.array([8]), np.zeros((1, 3)), GRID, GAMMA)
    alone = synthetic_labels(9 * np.eye(3), np.array([13]), np.zeros((1, 3)), GRID, GAMMA)
    assert np.isfinite(alone.eps_inter).all() and (alone.drude[:3] > 0).all()  # an atom without neighbours


def test_data_module_takes_the_source() -> None:
    data = CrystalDataModule(source=SyntheticMetals(30), cutoff=4.0, tensors=True)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch.anisotropy is not None and batch.anisotropy.component_mask.all()
    assert data.source_name == "SyntheticMetals" and sum(rows.size for rows in data.indices.values()) >= 30
