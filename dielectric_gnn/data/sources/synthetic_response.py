"""A synthetic dielectric tensor as a smooth function of the atomic positions: exactly causal, passive and covariant.

The model is not physical, but has the form of a response. Every pair of neighbours i, j at distance d in direction r̂
absorbs in two bands, each a sum of Lorentz oscillators with the positive semidefinite strength

    S_ij = Ω² f(z_i, z_j, d) [(1 − κ) 1 + κ r̂ r̂ᵀ] / V,   Ω² / V = e² / (ε₀ m V) in eV²,

at energies that depend on both elements, on d, and on how crowded both atoms are. Angles enter through a third band per
atom: with A_i = Σ_j h_ij r̂ r̂ᵀ and b_i = Σ_j h_ij r̂, the matrices A_i² = Σ_jk h_ij h_ik cos θ_jk r̂_j r̂_kᵀ and b_i b_iᵀ
are sums over triplets and positive semidefinite. Oscillators have Im ε ≥ 0 and the symmetry Im ε(−ω) = −Im ε(ω), and
their poles lie below the real axis; sums of them with such strengths keep all three properties in every direction.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import OpticalLabels
from dielectric_gnn.data.sources.prototypes import METALS
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

RANGE = 5.5
"""Range (Å) of the pair terms, as the cutoff of the graphs; they vanish smoothly at it."""

SQUARED_PLASMA_ENERGY = 1378.64
"""e² ħ² / (ε₀ m) in eV² Å³: the squared plasma frequency of one electron per Å³."""

_BANDS, _FIRST, _SPACING, _FINE = 64, 0.75, 0.25, 8
_LOWEST, _SPAN = 1.0, 14.75
_COLUMNS = 512
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_FLOATS = NDArray[np.float64]


def synthetic_labels(
    lattice: _FLOATS, atomic_numbers: NDArray[np.int64], positions: _FLOATS, grid: EnergyGrid, broadening: float
) -> OpticalLabels:
    """Labels of a crystal: full tensors, six components.

    Args:
        lattice: (3, 3), rows are lattice vectors in Å.
        atomic_numbers: (n,), of `prototypes.METALS`.
        positions: (n, 3), Cartesian, in Å.
        grid: Photon energies.
        broadening: Γ, the half width of every oscillator in eV.

    Raises:
        InputError: An element without descriptors.
    """
    strengths, drude = _strengths(lattice, atomic_numbers, positions)
    bands = band_spectra(grid, broadening)
    # In pieces so small that no library splits them among threads, which would change the last bits.
    pieces = [strengths @ bands[:, start : start + _COLUMNS] for start in range(0, bands.shape[1], _COLUMNS)]
    spectra = np.concatenate(pieces, axis=1)
    eps = spectra[:, : grid.num] + 1j * spectra[:, grid.num :]
    eps[:3] += 1
    return OpticalLabels(eps, _root(drude), grid, broadening)


@cache
def band_spectra(grid: EnergyGrid, broadening: float) -> _FLOATS:
    """Spectrum of every band per unit of strength, real parts (K, W) beside imaginary parts: (K, 2 W) in eV⁻².

    A band has the form of a cubic B-spline two spacings to each side, filled with Lorentz oscillators
    1 / (e² − (ω + iΓ)²).
    """
    inside = np.arange(-2 * _FINE + 1, 2 * _FINE) / _FINE
    weights = np.where(abs(inside) < 1, 4 - 6 * inside**2 + 3 * abs(inside) ** 3, (2 - abs(inside)) ** 3)
    energies = _FIRST + _SPACING * (np.arange(_BANDS)[:, None] + inside)
    photons = grid.energies() + 1j * broadening
    shares = (weights / weights.sum())[:, None]
    spectra = np.stack([(shares / (row[:, None] ** 2 - photons**2)).sum(axis=0) for row in energies])
    return np.concatenate([spectra.real, spectra.imag], axis=1)


@cache
def _element_table() -> _FLOATS:
    """Smooth functions of the place in the periodic table, rows by atomic number (84, 5); NaN for other elements.

    Radius (Å), level (eV), share of d states, free electrons, polarisability of the third band.
    """
    table = np.full((84, 5), np.nan)
    for z, (_, group, period, radius) in METALS.items():
        d_share = np.exp(-(((group - 7.5) / 3.5) ** 2))
        level = 5.5 - 0.42 * group + 0.35 * (period - 4) + 0.4 * np.sin(0.7 * group)
        free = 0.15 + 0.45 * np.exp(-(((group - 1) / 2.5) ** 2)) + 0.3 * np.exp(-(((group - 12) / 2) ** 2))
        table[z] = radius, level, d_share, free, 0.1 + 0.2 * d_share + 0.03 * period
    return table


def _strengths(lattice: _FLOATS, numbers: NDArray[np.int64], positions: _FLOATS) -> tuple[_FLOATS, _FLOATS]:
    """Strength of every band (6, K), and the Drude tensor ω_D² (3, 3), all in eV²."""
    from vesin import NeighborList

    radius, level, d_share, free, third = _element_table()[numbers].T
    if np.isnan(radius).any():
        raise InputError(f"atomic number {numbers[np.isnan(radius)][0]} has no synthetic response; see METALS")
    search = NeighborList(cutoff=RANGE, full_list=True, n_threads=1)
    i, j, vectors, distances = search.compute(positions, lattice, periodic=True, quantities="ijDd")
    i, j = i.astype(np.int64), j.astype(np.int64)
    unit = vectors / distances[:, None]
    dyads = unit[:, :, None] * unit[:, None, :]
    reduced = distances / (radius[i] + radius[j])
    overlap = np.exp(-2.2 * (reduced - 1)) * (1 - (distances / RANGE) ** 2) ** 3
    size = len(numbers)
    crowding = _sums(i, overlap[:, None], size)[:, 0]
    moments = _sums(i, overlap[:, None] * dyads.reshape(-1, 9), size).reshape(-1, 3, 3)
    vectors_sum = _sums(i, overlap[:, None] * unit, size)

    crowded = 1 + 0.15 * np.tanh((crowding[i] + crowding[j]) / 12 - 1)
    gap = np.sqrt((level[i] - level[j]) ** 2 + 0.5)
    first = (0.3 + 0.8 * gap + 1.2 * d_share[i] * d_share[j]) * crowded * reduced**-1.5
    second = first + 2.0 + 0.25 * (level[i] + level[j]) ** 2 / (1 + gap) * reduced**-2.0
    weight = overlap * (0.1 + 0.5 * (d_share[i] + d_share[j] - d_share[i] * d_share[j]))
    kappa = 0.3 + 0.65 * np.exp(-((2 * (reduced - 1)) ** 2)) * (1 - 0.5 * d_share[i] * d_share[j])
    tensors = (1 - kappa)[:, None] * _components(np.eye(3))[:, 0] + kappa[:, None] * _components(dyads).T

    triplets = moments @ moments + vectors_sum[:, :, None] * vectors_sum[:, None, :]
    triplets /= (1 + crowding)[:, None, None]
    shape = np.trace(moments @ moments, axis1=1, axis2=2) / (0.1 + crowding**2)
    own = (4.0 + 6.0 * shape + 0.4 * level) * (1 + 0.1 * np.tanh(crowding / 8 - 1))
    energies = np.concatenate([first, second, own])
    amounts = np.concatenate([weight, 0.7 * weight, third])
    carriers = np.concatenate([tensors, tensors, _components(triplets).T])
    scale = SQUARED_PLASMA_ENERGY / abs(np.linalg.det(lattice))
    drude = free[:, None, None] * (np.eye(3) + 1.8 * moments / (1 + crowding)[:, None, None])
    drude_tensor: _FLOATS = scale * (drude / (1 + 0.04 * crowding)[:, None, None]).sum(axis=0)
    return _spread(energies, scale * amounts[:, None] * carriers), drude_tensor


def _spread(energies: _FLOATS, strengths: _FLOATS) -> _FLOATS:
    """Strengths (P, 6) at P energies as strengths of the bands (6, K): by cubic B-splines, twice differentiable.

    Energies saturate smoothly between the first and the last band.
    """
    raw = energies / 10
    place = (_LOWEST + _SPAN * raw / (1 + raw) - _FIRST) / _SPACING
    first = np.floor(place)
    t = place - first
    shares = np.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6
    rows = first.astype(np.int64) + np.arange(-1, 3)[:, None]
    flat = rows[:, :, None] + _BANDS * np.arange(6)
    weights = (shares[:, :, None] * strengths).ravel()
    return np.bincount(flat.ravel(), weights, 6 * _BANDS).reshape(6, _BANDS).astype(np.float64, copy=False)


def _sums(rows: NDArray[np.int64], values: _FLOATS, size: int) -> _FLOATS:
    """Sum of the values (E, C) that belong to each of `size` rows: (size, C)."""
    # Without any rows, bincount would return integers.
    return np.stack([np.bincount(rows, column, size) for column in values.T], axis=1).astype(np.float64, copy=False)


def _components(matrices: _FLOATS) -> _FLOATS:
    """Symmetric matrices (..., 3, 3) as (6, P)."""
    return np.stack([matrices[..., i, j].reshape(-1) for i, j in _VOIGT])


def _root(matrix: _FLOATS) -> _FLOATS:
    """Positive semidefinite root of a matrix as six components."""
    values, vectors = np.linalg.eigh(matrix)
    return _components((vectors * np.sqrt(values.clip(min=0))) @ vectors.T)[:, 0]
