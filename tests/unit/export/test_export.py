"""Every format is read back by code that knows nothing of its writer."""

import csv
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from dielectric_gnn import export, optics
from dielectric_gnn.export.material import Material
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import file_stem
from tests.unit.export.noble_metals import GOLD, SILVER

ENERGIES = np.linspace(0, 20, 401)
HC_UM = 1.239841984  # eV µm
GOLDEN = Material("mat-1", "Au", "predicted", "model abc", damping_ev=0.1, broadening_ev=0.3, comments=("a\nb: c",))


def golden_eps() -> np.ndarray:
    bound = 5 + 12 * 9 / (9 - ENERGIES**2 - 0.8j * ENERGIES)
    return optics.total_dielectric_function(ENERGIES, bound, 9.0, 0.1)


def index() -> np.ndarray:
    """n + ik above 0 eV, by increasing wavelength: the root of ε with a positive imaginary part."""
    return np.sqrt(golden_eps()[:0:-1])


def written(folder: Path, name: str, material: Material = GOLDEN) -> Path:
    (path,) = export.export(folder, ENERGIES, golden_eps(), material, [name])
    return path


# tables


def test_refractiveindex_is_valid_yaml_of_that_database(tmp_path: Path) -> None:
    content = yaml.safe_load(written(tmp_path, "refractiveindex").read_text(encoding="utf-8"))
    assert set(content) == {"REFERENCES", "COMMENTS", "DATA", "SPECS"}
    assert "Predicted by a model" in content["REFERENCES"] and "not measured" in content["REFERENCES"]
    assert "a b: c" in content["COMMENTS"] and "0.3 eV" in content["COMMENTS"]
    assert content["SPECS"] == {"n_is_absolute": True, "wavelength_is_vacuum": True}
    (data,) = content["DATA"]
    assert data["type"] == "tabulated nk"
    table = np.array([row.split() for row in data["data"].strip().split("\n")], dtype=float)
    assert np.all(np.diff(table[:, 0]) > 0)
    np.testing.assert_allclose(table[:, 0], HC_UM / ENERGIES[:0:-1], rtol=1e-7)
    np.testing.assert_allclose(table[:, 1] + 1j * table[:, 2], index(), rtol=1e-6)


def test_calculated_data_say_so(tmp_path: Path) -> None:
    path = written(tmp_path, "refractiveindex", Material("m", "Au", "calculated"))
    text = path.read_text(encoding="utf-8")
    assert "Calculated from first principles" in text and "neural" not in text


def test_nk_table_is_read_by_numpy(tmp_path: Path) -> None:
    path = written(tmp_path, "nk")
    table = np.loadtxt(path)
    np.testing.assert_allclose(table[:, 0] * ENERGIES[:0:-1], HC_UM, rtol=1e-7)
    np.testing.assert_allclose(table[:, 1] + 1j * table[:, 2], index(), rtol=1e-6)
    assert "# wavelength_um n k" in path.read_text().split("\n")


def test_csv_and_json_agree_and_every_name_has_a_unit(tmp_path: Path) -> None:
    with written(tmp_path, "csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    content = json.loads(written(tmp_path, "json").read_text(encoding="utf-8"))
    assert list(rows[0]) == list(content["spectra"])
    assert all(name.endswith("]") for name in [*content["spectra"], *content["values"]])
    for name, column in content["spectra"].items():
        assert len(column) == len(rows) == 400
        for row, value in zip(rows, column, strict=True):
            cell = float(row[name] or "nan")
            assert cell == pytest.approx(value) if value is not None else not np.isfinite(cell)


def test_quantities_follow_from_each_other(tmp_path: Path) -> None:
    """From the columns of the file alone: ε = (n + ik)², α = 4πk/λ, δ = 2/α, Re σ = ε₀ω Im ε, loss, Q."""
    spectra = json.loads(written(tmp_path, "json").read_text(encoding="utf-8"))["spectra"]
    column = {name.split(" [")[0]: np.array(values, dtype=float) for name, values in spectra.items()}
    eps = column["eps_re"] + 1j * column["eps_im"]
    np.testing.assert_allclose(eps, golden_eps()[1:], rtol=1e-6)
    np.testing.assert_allclose((column["n"] + 1j * column["k"]) ** 2, eps, rtol=1e-5)
    alpha = 4 * np.pi * column["k"] / (column["wavelength"] * 1e-4)
    np.testing.assert_allclose(column["absorption_coefficient"], alpha, rtol=1e-6)
    np.testing.assert_allclose(column["skin_depth_field"] * 1e-7, 2 / alpha, rtol=1e-6)
    np.testing.assert_allclose(column["conductivity_re"], 13451.88 * column["energy"] * eps.imag, rtol=1e-5)
    np.testing.assert_allclose(column["loss_function"], (-1 / eps).imag, rtol=1e-5)
    metallic = eps.real < 0
    np.testing.assert_allclose(
        column["quality_localised_plasmon"][metallic], (-eps.real / eps.imag)[metallic], rtol=1e-5
    )
    assert np.isnan(column["quality_localised_plasmon"][~metallic]).all()


def test_single_values_are_none_where_they_do_not_exist(tmp_path: Path) -> None:
    energies = np.linspace(2.0, 2.5, 11)
    paths = export.export(tmp_path, energies, np.full(11, 2.25), Material("glass", "SiO2"), ["json", "csv"])
    content = json.loads(paths[0].read_text(encoding="utf-8"))
    assert set(content["values"].values()) == {None}
    assert set(content["spectra"]["skin_depth_field [nm]"]) == {None}
    gold = json.loads(written(tmp_path, "json").read_text(encoding="utf-8"))["values"]
    assert gold["srgb_d65_2deg [hex]"].startswith("#") and gold["screened_plasma_energy [eV]"] > 0


# Meep


def permittivity(medium: dict[str, Any], energies: np.ndarray) -> np.ndarray:
    """Meep's documented formula, from the coefficients in the file."""
    f = energies / HC_UM
    eps = np.full(f.shape, medium["epsilon"], dtype=complex)
    for term in medium["lorentz"]:
        eps += term["sigma"] * term["frequency"] ** 2 / (term["frequency"] ** 2 - f**2 - 1j * f * term["gamma"])
    for term in medium["drude"]:
        eps += term["sigma"] * term["frequency"] ** 2 / (-(f**2) - 1j * f * term["gamma"])
    return eps


@pytest.mark.parametrize(("table", "limit"), [(SILVER, 0.08), (GOLD, 0.06)], ids=["silver", "gold"])
def test_measured_metals_are_reproduced_within_the_stated_error(
    tmp_path: Path, table: np.ndarray, limit: float
) -> None:
    energies, measured = table[:, 0], table[:, 1] + 1j * table[:, 2]
    (path,) = export.export(tmp_path, energies, measured**2, Material("metal", "X", "calculated"), ["meep"])
    medium = runpy.run_path(str(path))["MEDIUM"]
    fit = medium["fit"]
    inside = (energies >= 0.5) & (energies <= 6.0)
    assert fit["window_ev"] == [energies[inside][0], energies[inside][-1]]
    eps = permittivity(medium, energies[inside])
    relative = np.abs(eps - measured[inside] ** 2) / np.maximum(np.abs(measured[inside] ** 2), 1)
    assert np.sqrt(np.mean(relative**2)) == pytest.approx(fit["rms_relative_error_eps"], rel=1e-4)
    assert relative.max() == pytest.approx(fit["largest_relative_error_eps"], rel=1e-4)
    of_index = np.abs(np.sqrt(eps) - measured[inside]) / np.maximum(np.abs(measured[inside]), 1)
    assert np.sqrt(np.mean(of_index**2)) == pytest.approx(fit["rms_relative_error_n_k"], rel=1e-4)
    assert fit["rms_relative_error_eps"] < limit and fit["rms_relative_error_n_k"] < limit / 2
    # Passive and stable: far below, within and far above the window.
    assert permittivity(medium, np.geomspace(1e-3, 1e3, 2000)).imag.min() > 0
    assert medium["epsilon"] >= 1
    assert all(min(term.values()) > 0 for term in medium["drude"] + medium["lorentz"])


def test_the_meep_file_builds_a_medium_and_checks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in that records what Meep would be given."""
    made = SimpleNamespace(
        **{name: (lambda *args, _name=name, **kw: (_name, args, kw)) for name in ("FreqRange", "Medium")},
        **{f"{name}Susceptibility": (lambda _name=name, **kw: (_name, kw)) for name in ("Drude", "Lorentzian")},
    )
    monkeypatch.setitem(sys.modules, "meep", made)
    hostile = Material('x"""\n{}\\', "Au", comments=("'''); raise SystemExit",))
    module = runpy.run_path(str(written(tmp_path, "meep", hostile)))
    medium = module["MEDIUM"]
    assert medium["material_id"] == hostile.material_id and medium["fit"]["rms_relative_error_eps"] < 0.01
    frequencies = np.linspace(0.5, 4, 50)
    np.testing.assert_allclose(module["permittivity"](frequencies), permittivity(medium, frequencies * HC_UM))
    name, _, arguments = module["medium"]()
    assert name == "Medium" and arguments["epsilon"] == medium["epsilon"]
    assert arguments["valid_freq_range"][1] == tuple(medium["valid_frequency"])
    assert [kind for kind, _ in arguments["E_susceptibilities"]].count("Drude") == 1
    assert arguments["E_susceptibilities"][0][1] == medium["drude"][0]


def test_a_drude_lorentz_medium_is_found_again() -> None:
    energies = np.linspace(0.1, 8, 400)
    truth = export.DrudeLorentz(2.5, 8.0, 0.08, (1.5, 0.7), (2.8, 4.4), (0.6, 0.9))
    fit = export.fit_drude_lorentz(energies, truth.permittivity(energies), tolerance=1e-5)
    assert fit.error.eps < 1e-3
    assert fit.model.drude == pytest.approx(8.0, rel=1e-3)
    assert fit.model.drude_damping == pytest.approx(0.08, rel=1e-2)
    assert fit.window == pytest.approx((0.5, 6.0), abs=0.02)
    glass = export.fit_drude_lorentz(energies, np.full(400, 2.25))
    assert glass.error.eps < 0.01 and glass.model.eps_inf == pytest.approx(2.25, rel=0.01)


def test_a_medium_with_gain_is_fitted_by_a_passive_one_and_the_file_says_so(tmp_path: Path) -> None:
    eps = golden_eps() - 0.5j
    (path,) = export.export(tmp_path, ENERGIES, eps, GOLDEN, ["meep"])
    medium = runpy.run_path(str(path))["MEDIUM"]
    assert permittivity(medium, ENERGIES[1:]).imag.min() >= 0
    assert any("gain" in note for note in medium["notes"]) == bool((eps.imag[(ENERGIES <= 6)] < 0).any())
    (path,) = export.export(tmp_path, ENERGIES, eps, GOLDEN, ["nk"])
    assert "gain" in path.read_text(encoding="utf-8")


# all of them


def test_a_tensor_makes_a_file_for_each_axis(tmp_path: Path) -> None:
    eps = np.stack([golden_eps(), golden_eps() + 1, golden_eps() + 2])
    paths = export.export(tmp_path / "new", ENERGIES, eps, Material("a/b c", "Au"), ["nk", "json"])
    stem = file_stem("a/b c")
    assert re.fullmatch(r"a_b_c-[0-9a-f]{8}", stem)
    assert [path.name for path in paths[:3]] == [f"{stem}_x.nk", f"{stem}_x_optics.json", f"{stem}_y.nk"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    second = json.loads(paths[3].read_text(encoding="utf-8"))
    assert second["direction"] == "y"
    assert second["spectra"]["eps_re [1]"][9] == pytest.approx(eps[1, 10].real)


def test_mistakes_are_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format 'xls'.*refractiveindex, nk, csv, json, meep"):
        export.export(tmp_path, ENERGIES, golden_eps(), GOLDEN, ["nk", "xls"])
    with pytest.raises(InputError, match=r"eps of shape \(6, 401\)"):
        export.export(tmp_path, ENERGIES, np.ones((6, 401)), GOLDEN)
    for name in export.WRITERS:
        with pytest.raises(InputError, match="increase"):
            export.export(tmp_path, ENERGIES[::-1], golden_eps(), GOLDEN, [name])
        with pytest.raises(InputError, match=r"eps is \(?nan.* at 0.1 eV"):
            broken = np.where(ENERGIES[2] == ENERGIES, np.nan, golden_eps())
            export.export(tmp_path, ENERGIES, broken, GOLDEN, [name])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="window 30 to 40 eV"):
        export.fit_drude_lorentz(ENERGIES, golden_eps(), (30, 40))
    with pytest.raises(InputError, match="expected 'predicted' or 'calculated'"):
        Material("m", "Au", "measured")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="eps_inf >= 1"):
        export.DrudeLorentz(0.5, 1.0, 0.1)
