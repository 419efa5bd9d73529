"""Tests for backbones: a test class that inherits `BackboneContract` runs the tests that every backbone must pass.

from dielectric_gnn.testing import BackboneContract
from my_backbone import MyBackbone

class TestMyBackbone(BackboneContract):
    def make_backbone(self):
        return MyBackbone(width=16)
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import AtomFeatures, Backbone
from dielectric_gnn.models.layers.segment import segment_sum
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import traceless_basis

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-10}
"""Allowed difference, relative to the largest feature."""


def crystal(
    name: str,
    lattice: Sequence[Sequence[float]],
    numbers: Sequence[int],
    fractional: Sequence[Sequence[float]],
) -> CrystalRecord:
    """An unlabelled material from lattice rows (Å), atomic numbers and fractional coordinates."""
    cell = np.array(lattice, dtype=np.float64)
    positions = np.array(fractional, dtype=np.float64).reshape(-1, 3) @ cell
    return CrystalRecord(name, cell, np.array(numbers, dtype=np.int64), positions)


def sample_crystals() -> list[CrystalRecord]:
    """One, two, four and three atoms: a primitive fcc cell, a strained B2, a distorted L1₂ and a triclinic cell."""
    return [
        crystal("fcc", [[0, 1.9, 1.9], [1.9, 0, 1.9], [1.9, 1.9, 0]], [29], [[0, 0, 0]]),
        crystal("b2", [[2.9, 0.1, 0], [0, 3.0, 0], [0, 0.2, 3.1]], [28, 13], [[0, 0, 0], [0.52, 0.49, 0.5]]),
        crystal(
            "l12",
            [[3.9, 0, 0], [0, 4.0, 0.1], [0.1, 0, 3.8]],
            [79, 29, 29, 29],
            [[0, 0, 0], [0.5, 0.5, 0.02], [0.5, 0, 0.49], [0.01, 0.5, 0.5]],
        ),
        crystal(
            "triclinic",
            [[4.1, 0.2, 0], [0.7, 4.4, 0.3], [0.1, 0.9, 5.0]],
            [57, 46, 8],
            [[0.1, 0, 0], [0.55, 0.45, 0.3], [0.3, 0.2, 0.71]],
        ),
    ]


def labelled(record: CrystalRecord, grid: EnergyGrid | None = None, drude: float = 5.0) -> CrystalRecord:
    """The same material with a causal response: one Lorentz oscillator per axis."""
    grid = grid or EnergyGrid()
    energies = grid.energies()
    resonance = 2.0 + record.atomic_numbers.mean() / 20 + np.arange(3)[:, None]
    eps = 1 + 10 * resonance / (resonance**2 - energies**2 - 0.6j * energies)
    labels = OpticalLabels(eps, np.full(3, drude), grid, 0.3)
    return CrystalRecord(record.material_id, record.lattice, record.atomic_numbers, record.positions, labels)


def graph_of(records: Sequence[CrystalRecord], cutoff: float, dtype: torch.dtype = torch.float64) -> CrystalGraph:
    """The records as one batch; edge vectors in `dtype`."""
    store = CrystalStore.from_records(records, cutoff, edge_dtype=np.float64)
    return store.gather(range(len(records))).to(dtype=dtype)


def random_rotation(seed: int, improper: bool = False) -> NDArray[np.float64]:
    """A random rotation matrix, with `improper` times an inversion."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q = q * np.sign(np.linalg.det(q))
    return -q if improper else q


def transformed(record: CrystalRecord, rotation: NDArray[np.float64], shift: NDArray[np.float64]) -> CrystalRecord:
    """The structure rotated about the origin and then shifted."""
    return CrystalRecord(
        record.material_id,
        record.lattice @ rotation.T,
        record.atomic_numbers,
        record.positions @ rotation.T + shift,
    )


def supercell(record: CrystalRecord, multiples: tuple[int, int, int]) -> CrystalRecord:
    """The structure repeated along its lattice vectors; the copies of an atom are contiguous."""
    shifts = np.stack(np.meshgrid(*map(np.arange, multiples), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = record.positions[:, None] + shifts @ record.lattice
    return CrystalRecord(
        record.material_id,
        record.lattice * np.array(multiples)[:, None],
        record.atomic_numbers.repeat(len(shifts)),
        positions.reshape(-1, 3),
    )


def rotated(tensors: torch.Tensor, rotation: NDArray[np.float64]) -> torch.Tensor:
    """Even l = 2 features (N, 5, F) of the rotated structure: T → R T Rᵀ as 3 × 3 matrices."""
    basis, matrix = traceless_basis().to(tensors), torch.from_numpy(rotation).to(tensors)
    wigner = torch.einsum("kij,ia,jb,lab->kl", basis, matrix, matrix, basis)
    return torch.einsum("kl,nlf->nkf", wigner, tensors)


def over_atoms(function: Callable[[torch.Tensor], torch.Tensor], features: AtomFeatures) -> AtomFeatures:
    """A function of rows, applied to scalars and, if present, to tensors."""
    tensors = None if features.tensors is None else function(features.tensors)
    return AtomFeatures(function(features.scalars), tensors)


def joined(parts: Sequence[AtomFeatures]) -> AtomFeatures:
    """The features of several batches, concatenated."""
    tensors = [part.tensors for part in parts if part.tensors is not None]
    return AtomFeatures(torch.cat([part.scalars for part in parts]), torch.cat(tensors) if tensors else None)


class BackboneContract(ABC):
    """Tests that any backbone must pass, in float32 and float64, on batches that include a one-atom cell.

    A backbone that declares a `tensor_dim` is tested for its tensors too: even parity, l = 2, in e3nn's order.
    """

    @abstractmethod
    def make_backbone(self) -> Backbone:
        """A small instance of the backbone under test."""

    @pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
    def dtype(self, request: pytest.FixtureRequest) -> torch.dtype:
        """Precision."""
        dtype: torch.dtype = request.param
        return dtype

    @pytest.fixture
    def backbone(self, dtype: torch.dtype) -> Iterator[Backbone]:
        """An instance in evaluation mode with batch-norm statistics of the sample structures."""
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            torch.manual_seed(0)
            backbone = self.make_backbone().to(dtype)
            graph = graph_of(sample_crystals(), backbone.cutoff, dtype)
            with torch.no_grad():
                for _ in range(20):
                    backbone(graph)
            yield backbone.eval()
        finally:
            torch.set_default_dtype(default)

    def features(self, backbone: Backbone, records: Sequence[CrystalRecord], dtype: torch.dtype) -> AtomFeatures:
        """Features of the records in one batch."""
        with torch.no_grad():
            features: AtomFeatures = backbone(graph_of(records, backbone.cutoff, dtype))
        return features

    def test_shapes_are_as_declared(self, backbone: Backbone, dtype: torch.dtype) -> None:
        records = sample_crystals()
        features = self.features(backbone, records, dtype)
        num_atoms = sum(record.atomic_numbers.size for record in records)
        assert features.scalars.shape == (num_atoms, backbone.scalar_dim)
        assert features.scalars.dtype == dtype
        assert features.scalars.isfinite().all()
        assert (features.tensors is not None) == (backbone.tensor_dim > 0)
        if features.tensors is not None:
            assert features.tensors.shape == (num_atoms, 5, backbone.tensor_dim)
            assert features.tensors.isfinite().all()

    def test_features_differ_between_structures(self, backbone: Backbone, dtype: torch.dtype) -> None:
        """Without this, constant scalars and vanishing tensors would pass every invariance below."""
        features = self.features(backbone, sample_crystals(), dtype)
        scalars, least = features.scalars, 10 * TOLERANCE[dtype] * features.scalars.abs().max()
        assert (scalars[0] - scalars[1]).abs().max() > least
        if features.tensors is not None:
            assert (features.tensors[-1] - features.tensors[-2]).abs().max() > least

    @pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoinversion"])
    def test_invariant_under_rotation_and_translation(
        self, backbone: Backbone, dtype: torch.dtype, improper: bool
    ) -> None:
        records = sample_crystals()
        rotation, shift = random_rotation(1, improper), np.array([0.3, -1.7, 0.9])
        moved = [transformed(record, rotation, shift) for record in records]
        expected = self.features(backbone, records, dtype)
        if expected.tensors is not None:
            expected = AtomFeatures(expected.scalars, rotated(expected.tensors, rotation))
        self.assert_same(expected, self.features(backbone, moved, dtype), dtype)

    def test_permuting_atoms_permutes_features(self, backbone: Backbone, dtype: torch.dtype) -> None:
        record = sample_crystals()[2]
        order = np.array([2, 0, 3, 1])
        permuted = CrystalRecord("p", record.lattice, record.atomic_numbers[order], record.positions[order])
        expected = over_atoms(lambda rows: rows[order], self.features(backbone, [record], dtype))
        self.assert_same(expected, self.features(backbone, [permuted], dtype), dtype)

    def test_invariant_under_choice_of_cell(self, backbone: Backbone, dtype: torch.dtype) -> None:
        record = sample_crystals()[3]
        sheared = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ record.lattice
        wrapped = record.positions + np.array([1, -2, 0]) @ record.lattice
        other = CrystalRecord("other", sheared, record.atomic_numbers, wrapped)
        self.assert_same(self.features(backbone, [record], dtype), self.features(backbone, [other], dtype), dtype)

    def test_supercell_repeats_the_features(self, backbone: Backbone, dtype: torch.dtype) -> None:
        record = sample_crystals()[1]
        small = self.features(backbone, [record], dtype)
        big = self.features(backbone, [supercell(record, (1, 3, 2))], dtype)
        self.assert_same(over_atoms(lambda rows: rows.repeat_interleave(6, dim=0), small), big, dtype)

    def test_features_are_independent_of_the_batch(self, backbone: Backbone, dtype: torch.dtype) -> None:
        records = sample_crystals()
        together = self.features(backbone, records, dtype)
        alone = joined([self.features(backbone, [record], dtype) for record in records])
        self.assert_same(alone, together, dtype)

    def test_input_is_not_modified(self, backbone: Backbone, dtype: torch.dtype) -> None:
        graph = graph_of(sample_crystals(), backbone.cutoff, dtype)
        before = [t.clone() for t in (graph.atomic_numbers, graph.edge_index, graph.edge_vectors, graph.batch)]
        backbone(graph)
        after = (graph.atomic_numbers, graph.edge_index, graph.edge_vectors, graph.batch)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def test_every_parameter_gets_a_gradient(self, backbone: Backbone, dtype: torch.dtype) -> None:
        backbone.train()
        features = backbone(graph_of(sample_crystals(), backbone.cutoff, dtype))
        probe = torch.linspace(0.5, 1.5, features.scalars.numel(), dtype=dtype).view_as(features.scalars)
        total = (features.scalars * probe).sum()
        if features.tensors is not None:
            total = total + features.tensors.square().sum()
        total.backward()
        missing = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
        assert not missing, f"no gradient reaches {missing}"

    def test_orbit_graphs_give_the_same(self, backbone: Backbone, dtype: torch.dtype) -> None:
        """Sums over the atoms of each material, weighted by the counts of the classes, in training mode."""
        if not backbone.supports_orbits:
            pytest.skip("supports_orbits is false")
        records = [*sample_crystals()[:2], *(supercell(record, (1, 2, 3)) for record in sample_crystals()[:3])]
        full = graph_of(records, backbone.cutoff, dtype)
        store = CrystalStore.from_records(records, backbone.cutoff, edge_dtype=np.float64, symmetry="orbit")
        orbit = store.gather(range(len(records))).to(dtype=dtype)
        assert orbit.orbits is not None
        backbone.train()
        with torch.no_grad():
            expected = segment_sum(backbone(full).scalars, full.batch, full.num_crystals)
            counts = orbit.orbits.atom_counts[:, None]
            found = segment_sum(counts * backbone(orbit).scalars, orbit.batch, orbit.num_crystals)
        self.assert_close(found, expected, dtype)

    def test_isolated_atom_gives_finite_features(self, backbone: Backbone, dtype: torch.dtype) -> None:
        lonely = crystal("lonely", (np.eye(3) * 3 * backbone.cutoff).tolist(), [47], [[0, 0, 0]])
        features = self.features(backbone, [lonely], dtype)
        assert features.scalars.isfinite().all()
        if features.tensors is not None:
            assert features.tensors.abs().max() <= TOLERANCE[dtype], "an isolated atom has no preferred direction"

    def test_weights_survive_a_safe_checkpoint(self, backbone: Backbone, dtype: torch.dtype) -> None:
        buffer = io.BytesIO()
        torch.save(backbone.state_dict(), buffer)
        buffer.seek(0)
        torch.manual_seed(1)
        other = self.make_backbone().to(dtype).eval()
        other.load_state_dict(torch.load(buffer, weights_only=True))
        records = sample_crystals()
        expected, loaded = self.features(backbone, records, dtype), self.features(other, records, dtype)
        assert torch.equal(loaded.scalars, expected.scalars)
        if loaded.tensors is not None and expected.tensors is not None:
            assert torch.equal(loaded.tensors, expected.tensors)

    def assert_same(self, first: AtomFeatures, second: AtomFeatures, dtype: torch.dtype) -> None:
        """Equal scalars and tensors, to the tolerance of the precision."""
        self.assert_close(second.scalars, first.scalars, dtype)
        assert (first.tensors is None) == (second.tensors is None)
        if first.tensors is not None and second.tensors is not None:
            self.assert_close(second.tensors, first.tensors, dtype)

    def assert_close(self, value: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
        """Equal to the tolerance of the precision, relative to the largest feature."""
        scale = float(expected.abs().max())
        torch.testing.assert_close(value, expected, rtol=0, atol=TOLERANCE[dtype] * scale)
