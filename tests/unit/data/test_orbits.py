"""Orbit graphs: the classes of known crystals, and networks on them against the same networks on full graphs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dielectric_gnn.cli.benchmark.torch_geometric_form import torch_geometric_form
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.graphs.graph import CrystalGraph, neighbour_edges
from dielectric_gnn.data.graphs.orbits import CrystalOrbits, find_orbits, trivial_orbits
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.splits import composition_split
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.models.backbones import Backbone, Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.message_passing import CGConv, ResidualGATv2, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.pooling import (
    MeanPooling,
    ScalarAttentionPooling,
    Set2SetPooling,
    VectorAttentionPooling,
)
from dielectric_gnn.testing import crystal, sample_crystals, supercell
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError

CUTOFF = 5.5
FCC = crystal("fcc", [[0, 2, 2], [2, 0, 2], [2, 2, 0]], [29], [[0, 0, 0]])
LONE = crystal("lone", [[9.0, 0, 0], [0, 9.1, 0], [0, 0, 9.2]], [19], [[0, 0, 0]])

MODELS: dict[str, Callable[[int], Backbone]] = {
    "optimate": lambda width: OptiMate(),
    "2b_cgc": OptiMetal2B,
    "2b_tc": partial(OptiMetal2B, message_passing=TransformerConv),
    "2b_gat": partial(OptiMetal2B, message_passing=ResidualGATv2),
    "3b_tc": OptiMetal3B,
    "3b_cgc": partial(OptiMetal3B, message_passing=CGConv),
    "3b_gat": partial(OptiMetal3B, message_passing=ResidualGATv2),
    "3b_short": partial(OptiMetal3B, three_body_cutoff=3.1, num_layers=3),
}
POOLINGS = (MeanPooling, VectorAttentionPooling, ScalarAttentionPooling, Set2SetPooling)


def orbits_of(record: CrystalRecord) -> CrystalOrbits | None:
    return find_orbits(record.atomic_numbers, *neighbour_edges(record, CUTOFF))


def strained(record: CrystalRecord) -> CrystalRecord:
    """Stretched along the Cartesian axes, which keeps part of the symmetry."""
    strain = np.diag([1.01, 1.01, 0.97])
    return replace(record, lattice=record.lattice @ strain, positions=record.positions @ strain)


@pytest.fixture(scope="module")
def mixed(metals: list[CrystalRecord]) -> list[CrystalRecord]:
    """Real metals, strained ones, invented ones, some without any symmetry, and an atom without an edge."""
    invented = [*SyntheticMetals(4, 0).records(), *SyntheticMetals(3, 1, rattle=0.05).records()]
    records = [*metals[::20], *map(strained, metals[5::25]), *invented, LONE, sample_crystals()[3]]
    return [replace(record, labels=None, material_id=str(row)) for row, record in enumerate(records)]


def graphs(records: list[CrystalRecord], dtype: torch.dtype = torch.float64) -> tuple[CrystalGraph, CrystalGraph]:
    """The records as one batch of full graphs and as one of orbit graphs."""
    rows = range(len(records))
    full = CrystalStore.from_records(records, CUTOFF, np.float64)
    orbit = CrystalStore.from_records(records, CUTOFF, np.float64, symmetry="orbit")
    return full.gather(rows).to(dtype=dtype), orbit.gather(rows).to(dtype=dtype)


def test_shells_of_fcc_are_its_classes() -> None:
    """12, 6 and 24 neighbours; a nearest neighbour sees the others at 60° (4), 90° (2), 120° (4) and 180° (1)."""
    orbits = orbits_of(FCC)
    assert orbits is not None
    shells = sorted(zip(orbits.lengths.round(9).tolist(), orbits.edge_counts.tolist(), strict=True))
    assert shells == [(pytest.approx(2 * 2**0.5), 12), (4.0, 6), (pytest.approx(24**0.5), 24)]
    nearest = int(orbits.edge_counts.tolist().index(12))
    both = (orbits.pairs == nearest).all(axis=0)
    angles = dict(zip(orbits.cosines[both].round(9).tolist(), orbits.pair_counts[both].tolist(), strict=True))
    assert angles == {0.5: 4, 0.0: 2, -0.5: 4, -1.0: 1}
    assert orbits.atom_counts.tolist() == [1]


def test_supercells_have_the_classes_of_their_cell(metals: list[CrystalRecord]) -> None:
    for record in metals[::15]:
        one, several = orbits_of(record), orbits_of(supercell(record, (2, 1, 2)))
        assert one is not None
        assert several is not None
        assert (several.atom_counts.sum(), several.atom_counts.size) == (
            4 * one.atom_counts.sum(),
            one.atom_counts.size,
        )
        for name in ("edge_counts", "pair_counts"):
            assert sorted(getattr(one, name)) == sorted(getattr(several, name))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:spglib")
def test_classes_make_up_the_crystal_and_respect_its_symmetry(metals: list[CrystalRecord]) -> None:
    """Atoms that spglib calls equivalent are in one class, so there are at most as many classes."""
    from spglib import get_symmetry_dataset

    for record in [*metals, *map(strained, metals)]:
        edge_index, vectors = neighbour_edges(record, CUTOFF)
        every, orbits = trivial_orbits(record.atomic_numbers, edge_index, vectors), orbits_of(record)
        assert orbits is not None
        totals = orbits.atom_counts[orbits.edge_index[0]] * orbits.edge_counts
        assert orbits.atom_counts.sum() == record.atomic_numbers.size
        assert totals.sum() == edge_index.shape[1]
        assert (totals[orbits.pairs[0]] * orbits.pair_counts).sum() == every.pairs.shape[1]
        fractional = np.linalg.solve(record.lattice.T, record.positions.T).T
        data = get_symmetry_dataset((record.lattice, fractional, record.atomic_numbers), symprec=1e-6)
        assert orbits.atom_counts.size <= np.unique(data.equivalent_atoms).size


def test_what_differs_by_a_thousandth_is_not_merged() -> None:
    """hcp with c/a near the ideal ratio: 6 + 6 neighbours that differ by 0.001 Å."""
    a = 3.0

    def nearest(shift: float) -> list[int]:
        c = a * (8 / 3) ** 0.5 + shift
        cell = [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]
        orbits = orbits_of(crystal("hcp", cell, [12, 12], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]))
        assert orbits is not None
        return sorted(orbits.edge_counts[orbits.lengths < 3.1].tolist())

    assert nearest(0.001) == [6, 6]
    assert orbits_of(crystal("none", *_rattled())) is None


def _rattled() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    record = next(iter(SyntheticMetals(1, 3, rattle=0.1).records()))
    return record.lattice, record.atomic_numbers, np.linalg.solve(record.lattice.T, record.positions.T).T


def built(name: str, width: int, seed: int = 0) -> tuple[Backbone, nn.ModuleList]:
    """A backbone whose norms do something, and every pooling."""
    torch.manual_seed(seed)
    model = MODELS[name](width)
    poolings = nn.ModuleList(pooling(model.scalar_dim) for pooling in POOLINGS)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.7, 0.3)
    return model, poolings


def pooled(model: Backbone, poolings: nn.ModuleList, graph: CrystalGraph) -> Tensor:
    counts = {} if graph.orbits is None else {"counts": graph.orbits.atom_counts}
    scalars = model(graph).scalars
    return torch.cat([pooling(scalars, graph.batch, graph.num_crystals, **counts) for pooling in poolings], dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", MODELS)
def test_networks_give_what_they_give_on_full_graphs(name: str, mixed: list[CrystalRecord]) -> None:
    """Values, gradients and running statistics in training, then values in evaluation."""
    found = []
    for graph in graphs(mixed):
        model, poolings = built(name, 16)
        assert model.supports_orbits
        values = pooled(model.train(), poolings, graph)
        torch.manual_seed(1)
        (values * torch.randn_like(values)).sum().backward()
        gradients = [parameter.grad for module in (model, poolings) for parameter in module.parameters()]
        with torch.no_grad():
            later = pooled(model.eval(), poolings, graph)
        found.append((values.detach(), later, list(model.buffers()), gradients))
    assert graph.orbits is not None
    largest = max(float(gradient.abs().max()) for gradient in found[0][3] if gradient is not None)
    for full, orbit in zip(found[0][:3], found[1][:3], strict=True):
        torch.testing.assert_close(orbit, full, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1][3], found[0][3], rtol=1e-8, atol=1e-9 * largest)


@pytest.mark.parametrize("name", ["2b_cgc", "2b_tc", "3b_tc"])
def test_single_precision_is_not_worse_than_that_of_the_usual_form(name: str, mixed: list[CrystalRecord]) -> None:
    """Both against the usual form in double precision, over three models."""
    full, orbit = graphs(mixed, torch.float32)
    exact = graphs(mixed)[0]
    errors = torch.zeros(2)
    for seed in range(3):
        model, poolings = built(name, 32, seed)
        assert isinstance(model, OptiMetal2B | OptiMetal3B)
        usual = torch_geometric_form(model)
        ours, theirs = pooled(model, poolings, orbit), pooled(usual, poolings, full)
        wanted = pooled(torch_geometric_form(model).double(), poolings.double(), exact)
        errors += torch.stack([(values.double() - wanted).norm() / wanted.norm() for values in (ours, theirs)]).detach()
    assert errors[0] <= errors[1]


@pytest.mark.parametrize("name", ["2b_tc", "3b_tc"])
def test_half_precision_follows_single(name: str, mixed: list[CrystalRecord]) -> None:
    orbit = graphs(mixed, torch.float32)[1]
    model, poolings = built(name, 16)
    exact = pooled(model, poolings, orbit)
    with torch.autocast("cpu", torch.bfloat16):
        values = pooled(model, poolings, orbit)
    values.sum().backward()
    assert (values - exact).norm() < 0.05 * exact.norm()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rows", [1, 5, 20])
def test_counted_rows_of_an_mlp_equal_repeated_ones(rows: int) -> None:
    """Also where the norm was replaced, as `sync_batchnorm` does, and in a residual that folds its norm."""
    torch.manual_seed(0)
    mlp = MLP([3, 12, 3])
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    replaced = deepcopy(mlp)
    replaced.layers[1] = nn.BatchNorm1d(12)
    replaced.load_state_dict(mlp.state_dict())
    x, counts = torch.randn(rows, 3), torch.randint(1, 5, (rows,)) + 1
    every = x.repeat_interleave(counts, dim=0)
    for form in (mlp, replaced):
        other = deepcopy(form)
        slow = other.residual(every)[(counts.cumsum(0) - counts)]
        fast = form.residual(x, counts.double())
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(dict(form.named_buffers()), dict(other.named_buffers()))


def test_batches_in_which_little_is_equal_are_full_graphs(metals: list[CrystalRecord]) -> None:
    """And so is a batch of mostly such crystals: both forms give the same, and the full one is faster there."""
    rattled = [replace(record, labels=None) for record in SyntheticMetals(20, 1, rattle=0.05).records()]
    symmetric = [replace(record, labels=None) for record in metals[::40]]
    store = CrystalStore.from_records([*rattled, *symmetric], CUTOFF, symmetry="orbit")
    assert store.gather(range(20)).orbits is None
    assert store.gather(range(len(store))).orbits is None
    assert store.gather([20, 21]).orbits is not None
    large = int(store.sizes[:20, 0].argmin())
    assert store.gather([large, *range(20, len(store))]).index.tolist() == [large, *range(20, len(store))]


def test_stores_on_disk_keep_orbits(metals: list[CrystalRecord], tmp_path: Path) -> None:
    records = [
        *metals[::9],
        *(replace(r, labels=metals[0].labels) for r in SyntheticMetals(3, 1, rattle=0.05).records()),
    ]
    write_store(tmp_path / "store", records, CUTOFF, composition_split, symmetry="orbit")
    disk, memory = open_store(tmp_path / "store")[0], CrystalStore.from_records(records, CUTOFF, symmetry="orbit")
    one, other = disk.gather(range(len(disk))), memory.gather(range(len(memory)))
    assert one.orbits is not None
    assert other.orbits is not None
    torch.testing.assert_close(vars(one.orbits), vars(other.orbits))
    for name in ("atomic_numbers", "edge_index", "edge_vectors", "batch", "index", "eps_inter", "drude"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
    assert "sound" in verify_store(tmp_path / "store")[0]
    file = tmp_path / "store" / "orbit_edge_counts.npy"
    rows = np.load(file)
    rows[3] += 1
    np.save(file, rows)
    with pytest.raises(InputError, match=r"orbit_edge_counts.npy \(wrong checksum\)"):
        verify_store(tmp_path / "store")


def test_data_module_refuses_what_does_not_fit(metals: list[CrystalRecord], tmp_path: Path) -> None:
    write_store(tmp_path / "full", metals[::9], CUTOFF, composition_split)
    with pytest.raises(InputError, match=r"has no orbits; set data\.symmetry to full"):
        CrystalDataModule(store=str(tmp_path / "full"), symmetry="orbit").setup("fit")
    assert DielectricModule(OptiMetal3B(8)).supports_orbits
    assert not DielectricModule(Goten(8)).supports_orbits
    assert not OptiMetal3B(8, three_body_cutoff=4.5).supports_orbits
