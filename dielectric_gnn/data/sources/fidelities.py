"""Several data sets of different fidelity as one source, for joint training."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, Outcome, RecordSource, read_or_reject
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError


class Fidelities(RecordSource):
    """Several sources whose labels differ in quality, such as calculations with fine and with coarse k meshes.

    The first source has fidelity 0, the highest. It alone is split, validated, tested and predicted. The others, 1 and
    so on, are used in training only, without the formulas of validation and test. `model.fidelities` must be their
    number. All have one energy grid (`data.grid` resamples them) and one broadening.

    Args:
        sources: The sources, the best labels first.
        weights: One weight of each source; the default is 1 for all. An epoch has every training material of the first
            source once, and weights[k] / weights[0] times as many samples of source k.

    Raises:
        InputError: Fewer than two sources, one that joins several itself, or weights that do not belong to them.
    """

    def __init__(self, sources: list[RecordSource], weights: list[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(sources) if weights is None else weights
        if len(sources) < 2 or any(len(source.fidelity_weights) > 1 for source in sources):
            raise InputError(
                f"Fidelities: sources has {len(sources)} items, expected at least two sources of one fidelity each"
            )
        if len(weights) != len(sources) or not all(weight > 0 and math.isfinite(weight) for weight in weights):
            raise InputError(
                f"Fidelities: weights is {weights}, expected {len(sources)} positive numbers, one for each source"
            )
        self.sources = sources
        self.fidelity_weights = tuple(weights)

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """The materials of the first source, then those of the others, with their fidelity in record and id."""

        def outcomes() -> Generator[Outcome, None, None]:
            for fidelity, source in enumerate(self.sources):
                for record in source.records(on_error):
                    yield read_or_reject(partial(_of_fidelity, fidelity), record)
                self.rejects += source.rejects

        return self._accept(outcomes(), on_error)

    def size(self) -> int | None:
        """The sum of the sizes; None if one is unknown."""
        sizes = [source.size() for source in self.sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def split(self) -> dict[str, list[str]] | None:
        """That of the first source."""
        return self.sources[0].split()

    def use_grid(self, grid: EnergyGrid | None) -> None:
        """Set the grid of all sources."""
        super().use_grid(grid)
        for source in self.sources:
            source.use_grid(grid)

    def highest_fidelity(self) -> RecordSource:
        """The first source."""
        return self.sources[0]


def _of_fidelity(fidelity: int, record: CrystalRecord) -> CrystalRecord:
    """The record with its fidelity; two calculations of one material get different ids."""
    if fidelity == 0:
        return record
    return replace(record, material_id=f"{record.material_id} (fidelity {fidelity})", fidelity=fidelity)
