"""Small CIF files for tests, and what the reader makes of them."""

from dielectric_gnn.data.sources.cif import Atoms, read_cif
from dielectric_gnn.utils.errors import RecordError

CUBE = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
LISTED = "loop_\n_symmetry_equiv_pos_as_xyz\n"
GROUP = "_symmetry_space_group_name_H-M"


def block(
    group: str = f"{GROUP} 'P m -3 m'",
    sites: str = "Cu1 Cu 0 0 0",
    columns: str = "label type_symbol fract_x fract_y fract_z",
    cell: tuple[float, ...] = CUBE,
    extra: str = "",
    name: str = "x",
) -> str:
    tags = [*(f"length_{axis}" for axis in "abc"), "angle_alpha", "angle_beta", "angle_gamma"]
    lines = [f"data_{name}", *(f"_cell_{tag} {value:g}" for tag, value in zip(tags, cell, strict=True)), group, extra]
    return "\n".join([*lines, "loop_", *(f"_atom_site_{column}" for column in columns.split()), sites, ""])


def outcome(text: str) -> Atoms | RecordError:
    """Of the only block of a text."""
    try:
        ((_, found),) = read_cif(text, "x.cif")
    except RecordError as error:
        return error
    return found


def symbols(text: str) -> list[int]:
    found = outcome(text)
    if isinstance(found, RecordError):
        raise found
    return sorted(found.numbers.tolist())


def refusal(text: str) -> str:
    found = outcome(text)
    assert isinstance(found, RecordError), "the file was read"
    assert "\n" not in str(found)
    return str(found)
