"""What is done to labels after they are read: they are brought onto the energy grid, and tensors are completed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.resampling import RESAMPLING_ERROR, resample
from dielectric_gnn.utils.errors import InputError, RecordError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """Options of a data set that determine the labels of its materials.

    Args:
        grid: Photon energies onto which all spectra are resampled; None keeps those of the source.
        tensors: Complete the tensors by symmetry, and check them; see `frames.with_full_tensors`.
    """

    grid: EnergyGrid | None = None
    tensors: bool = False

    def apply(self, record: CrystalRecord) -> CrystalRecord:
        """The record with the labels of this data set.

        Raises:
            RecordError: The spectra do not cover the grid, or the tensors contradict the structure.
        """
        if self.grid is not None:
            record = on_grid(record, self.grid)
        return with_full_tensors(record) if self.tensors else record


def on_grid(record: CrystalRecord, grid: EnergyGrid) -> CrystalRecord:
    """The record with its spectra resampled onto `grid`; the error of resampling is added to its metadata.

    Raises:
        RecordError: The spectra do not cover the grid.
    """
    labels = record.labels
    if labels is None or labels.grid == grid:
        return record
    try:
        resampled = resample(labels.grid.energies(), labels.eps_inter, grid)
    except InputError as error:
        raise RecordError(f"{record.source} ({record.material_id})".lstrip(), str(error)) from error
    return replace(
        record,
        labels=replace(labels, eps_inter=resampled.values, grid=grid),
        metadata={**record.metadata, RESAMPLING_ERROR: resampled.error},
    )


class LargestResamplingError(NamedTuple):
    """The largest error of resampling among the materials of a data set.

    Args:
        error: See `Resampled.error`.
        material_id: The material; empty if none was resampled.
    """

    error: float = 0.0
    material_id: str = ""

    def including(self, record: CrystalRecord) -> LargestResamplingError:
        """The larger of this error and that of a record."""
        error = float(record.metadata.get(RESAMPLING_ERROR, 0.0))
        return LargestResamplingError(error, record.material_id) if error > self.error else self

    def log(self) -> None:
        """Log it, if any spectrum was changed."""
        if self.error > 0:
            log.info(
                "resampling changed spectra by up to %.2g of their largest modulus (material %s)",
                self.error,
                self.material_id,
            )


def read_records(source: RecordSource, on_error: OnError, options: LabelOptions) -> Iterator[CrystalRecord]:
    """The records of a source with the labels of a data set; errors are handled according to `on_error`.

    The largest error of resampling is logged at the end.

    Raises:
        InputError: The source has another grid than the options.
    """
    source.use_grid(options.grid)
    largest = LargestResamplingError()
    for record in source.apply_to_records(options.apply, source.records(on_error), on_error):
        largest = largest.including(record)
        yield record
    largest.log()
