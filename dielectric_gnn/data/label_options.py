"""What is done to labels after they are read: they are brought onto the energy grid, and tensors are completed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.resampling import RESAMPLING_ERROR, resample
from dielectric_gnn.utils.errors import InputError, RecordError

log = logging.getLogger(__name__)


InsulatorRule = Literal["drude_zero"]
"""How materials with a band gap are labelled."""

BAND_GAP = "band_gap"
"""Key of the band gap (eV) in the metadata of a material; JSON entries state it in `data`."""

MAX_INSULATOR_DRUDE_EV = 0.1
"""A larger Drude frequency contradicts a band gap."""


@dataclass(frozen=True)
class LabelOptions:
    """Options of a data set that determine the labels of its materials.

    Args:
        grid: Photon energies onto which all spectra are resampled; None keeps those of the source.
        tensors: Complete the tensors by symmetry, and check them; see `frames.with_full_tensors`.
        insulators: `drude_zero`: materials whose file states a band gap above 0 have the Drude frequency 0.
    """

    grid: EnergyGrid | None = None
    tensors: bool = False
    insulators: InsulatorRule | None = None

    def apply(self, record: CrystalRecord) -> CrystalRecord:
        """The record with the labels of this data set.

        Raises:
            RecordError: The spectra do not cover the grid, the tensors contradict the structure, or the Drude frequency
                contradicts the band gap.
        """
        if self.insulators == "drude_zero":
            record = with_drude_of_insulators(record)
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


def with_drude_of_insulators(record: CrystalRecord) -> CrystalRecord:
    """The record with the Drude frequency 0 if its metadata state a band gap above 0.

    Raises:
        RecordError: Its labels state a Drude frequency as well, above `MAX_INSULATOR_DRUDE_EV`.
    """
    labels, gap = record.labels, record.metadata.get(BAND_GAP)
    if labels is None or isinstance(gap, bool) or not isinstance(gap, int | float) or not gap > 0:
        return record
    if labels.has_drude and (largest := float(np.abs(labels.drude).max())) > MAX_INSULATOR_DRUDE_EV:
        raise RecordError(
            f"{record.source} ({record.material_id})".lstrip(),
            f"{BAND_GAP} is {gap:g} eV and drude_freq reaches {largest:g} eV, expected at most "
            f"{MAX_INSULATOR_DRUDE_EV:g} eV in an insulator; correct one of them, or leave the option insulators out",
        )
    return replace(record, labels=replace(labels, drude=np.zeros_like(labels.drude)))


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
