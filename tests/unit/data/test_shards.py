"""Embedded shards: small, whole, and no repetition of the embedded set."""

from pathlib import Path

import numpy as np

import dielectric_gnn
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.sources.shards import read_shard, write_shard

SHARDS = sorted((Path(dielectric_gnn.__file__).parent / "data/example/more").glob("*.npz"))


def test_embedded_shards_are_small_valid_materials() -> None:
    assert SHARDS
    known = {record.material_id for record in ExampleMetals().records()}
    for path in SHARDS:
        record = read_shard(path)  # checks the structure and the labels
        assert path.stat().st_size < 10_000 and record.material_id not in known
        assert record.labels is not None and record.labels.broadening == 0.3 and record.labels.grid.num == 2001


def test_half_precision_is_what_a_shard_loses(tmp_path: Path) -> None:
    record = next(ExampleMetals().records())
    write_shard(tmp_path / f"{record.material_id}.npz", record)
    again = read_shard(tmp_path / f"{record.material_id}.npz")
    assert record.labels is not None and again.labels is not None
    np.testing.assert_array_equal(again.positions, record.positions)
    np.testing.assert_array_equal(again.atomic_numbers, record.atomic_numbers)
    for part in (np.real, np.imag):
        np.testing.assert_allclose(part(again.labels.eps_inter), part(record.labels.eps_inter), rtol=5e-4, atol=1e-7)
    np.testing.assert_allclose(again.labels.drude, record.labels.drude, rtol=1e-7)
