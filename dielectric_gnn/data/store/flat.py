"""Gathering rows from concatenated arrays of many crystals with an offset table."""

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
    """Start of each of M segments among all rows, and end of the last: (M + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def segments(rows: NDArray[Any], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Any]:
    """Concatenated segments of rows, from each start to its stop; `rows` must be contiguous.

    They are joined as bytes, because slicing memory is much faster than slicing an array.
    """
    width = math.prod(rows.shape[1:])
    flat = rows.reshape(-1).data
    ends = ((width * places).tolist() for places in (starts, stops))
    joined = bytearray().join(map(flat.__getitem__, map(slice, *ends)))
    return np.frombuffer(joined, dtype=rows.dtype).reshape(-1, *rows.shape[1:])


def ragged_rows(bounds: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Concatenated row numbers of the chosen segments, and the number of rows of each."""
    starts = bounds[chosen]
    counts = bounds[chosen + 1] - starts
    shift = starts - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts


def as_tensor_view(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of an array, which may be a read-only file; it must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
