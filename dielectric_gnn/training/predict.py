"""Predictions in Python: structures in, `Spectrum` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dielectric_gnn import optics
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.structures import to_record
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.training.applicability import reasons_to_doubt
from dielectric_gnn.training.spectra import quality_of, spectra_of

if TYPE_CHECKING:
    from dielectric_gnn.training.evaluation import ResponseModule

_BATCH_SIZE = 64
_MANY = (list, tuple)


def predict(module: ResponseModule, structures: Any, damping: float = optics.DEFAULT_DAMPING) -> Any:
    """Spectra of structures, in evaluation mode and without gradients.

    Args:
        module: A model or an ensemble.
        structures: A path, a pymatgen `Structure`, ASE `Atoms`, a `CrystalRecord`, or a list of them.
        damping: γ of the Drude term in eV.

    Returns:
        A `Spectrum`, or a list of them for a list.

    Raises:
        InputError: A structure cannot be used.
    """
    if not isinstance(structures, _MANY):
        (spectrum,) = predict(module, [structures], damping)
        return spectrum
    records = [to_record(structure) for structure in structures]
    training = module.training
    module.eval()
    try:
        return [
            spectrum
            for start in range(0, len(records), _BATCH_SIZE)
            for spectrum in _batch(module, records[start : start + _BATCH_SIZE], damping)
        ]
    finally:
        module.train(training)


def _batch(module: ResponseModule, records: Sequence[Any], damping: float) -> list[Spectrum]:
    store = CrystalStore.from_records(records, module.cutoff)
    graph = store.gather(range(len(records))).to(device=module.device, dtype=module.dtype)
    with torch.no_grad():
        response = module(graph)
    statistics = module.training_statistics
    spectra = spectra_of(response, module.grid, damping)
    tensors = statistics is not None and statistics.num_tensors > 0
    finite = module.finite_rows(response).tolist()
    rows = range(len(records))
    remarks = [store.remarks(row) for row in rows]
    f_sums = quality_of(spectra, store, rows)["f_sum"].tolist()
    reasons = reasons_to_doubt(spectra, f_sums, store, rows, statistics, remarks)
    return [
        replace(
            spectrum,
            material_id=record.material_id,
            formula=record.formula,
            broadening=None if statistics is None else statistics.broadening,
            tensor=spectrum.tensor if tensors else None,
            warnings=(*reasons[row], *([] if finite[row] else ["the prediction is not finite"])),
            source=f"Model: {type(module).__name__} in memory.",
            intervals=module.intervals,
        )
        for row, (record, spectrum) in enumerate(zip(records, spectra, strict=True))
    ]
