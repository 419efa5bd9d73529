from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_atomically, write_csv, write_text


def test_default_grid_is_the_published_one() -> None:
    np.testing.assert_array_equal(EnergyGrid().energies(), np.linspace(0, 20, 2001))


def test_grid_matches_rounded_energies_and_nothing_else() -> None:
    grid = EnergyGrid()
    rounded = grid.energies() - 1e-6
    assert grid.matches(rounded)
    assert not grid.matches(rounded[:-1])
    assert not grid.matches(grid.energies() * 1.001)


@pytest.mark.parametrize("bad", [(-1.0, 20.0, 10), (5.0, 5.0, 10), (0.0, 20.0, 1)])
def test_impossible_grids_are_refused(bad: tuple[float, float, int]) -> None:
    with pytest.raises(InputError, match="energy grid"):
        EnergyGrid(*bad)


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_has_comments_header_and_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "t.csv", ["a", "b"], [[1, "x,y"]], ["note"])
    assert (tmp_path / "new" / "t.csv").read_text() == '# note\na,b\n1,"x,y"\n'
