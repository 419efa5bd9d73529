"""Rows of many crystals one after another, with an offset table: gathering some of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def offsets(counts: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each of M segments begins among all rows, and where the last ends: (M + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def segments(rows: NDArray[Any], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Any]:
    """Segments of rows, from each start to its stop, one after another; `rows` must be contiguous.

    Joined as bytes: a slice of memory costs a fraction of a slice of an array.
    """
    width = math.prod(rows.shape[1:])
    flat = rows.reshape(-1).data
    ends = ((width * places).tolist() for places in (starts, stops))
    joined = bytearray().join(map(flat.__getitem__, map(slice, *ends)))
    return np.frombuffer(joined, dtype=rows.dtype).reshape(-1, *rows.shape[1:])


def ragged_rows(bounds: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers that the chosen segments own, one after another, and how many each owns."""
    starts = bounds[chosen]
    counts = bounds[chosen + 1] - starts
    shift = starts - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts


def as_tensor_view(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of an array, which may be a read-only file; it is read from, and never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
