"""Small files in the layouts of first-principles codes, made from a response in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HARTREE, BOHR = 27.211386245988, 0.529177210903
WIDTH = 0.1
"""Half width Γ in eV."""

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
VASP_ORDER = ("xx", "yy", "zz", "xy", "yz", "xz")


def energies_to(stop: float = 10.0, num: int = 101) -> NDArray[np.float64]:
    return np.linspace(0.0, stop, num)


def response(energies: NDArray[np.float64], strength: float = 40.0) -> NDArray[np.complex128]:
    """One oscillator at 4 eV, e^(−iωt)."""
    return 1 + strength / (16.0 - energies**2 - 2j * WIDTH * energies)


def tensor(energies: NDArray[np.float64]) -> dict[str, NDArray[np.complex128]]:
    """Six components whose off-diagonals are small and different."""
    one = response(energies) - 1
    scales = {"xx": 1.0, "yy": 0.8, "zz": 0.6, "xy": 0.05, "yz": 0.1, "xz": 0.2}
    return {name: scale * one + (name[0] == name[1]) for name, scale in scales.items()}


def poscar(folder: Path, symbol: str = "Al", lattice: NDArray[np.float64] | None = None) -> Path:
    """One atom, fcc unless another lattice is given."""
    vectors = 4.05 * FCC if lattice is None else lattice
    rows = "\n".join(" ".join(f"{x:.10f}" for x in row) for row in vectors)
    path = folder / "POSCAR"
    path.write_text(f"{symbol}\n1.0\n{rows}\n{symbol}\n1\nDirect\n0 0 0\n")
    return path


TETRAGONAL = np.diag([3.0, 3.0, 3.6])
TRICLINIC = np.array([[3.0, 0.1, 0.2], [0.3, 3.4, 0.1], [0.2, 0.5, 3.9]])


def write_vasp(
    folder: Path,
    symbol: str = "Al",
    energies: NDArray[np.float64] | None = None,
    squares: NDArray[np.float64] | None = None,
    labels: Sequence[str | None] = (None, None),
    **parameters: str,
) -> Path:
    """`vasprun.xml`, and an OUTCAR if there is a plasma tensor (eV²); unlabelled responses are density, velocity."""
    energies = energies_to() if energies is None else energies
    spectra = tensor(energies)
    blocks = ""
    for place, label in enumerate(labels):
        comment = "" if label is None else f' comment="{label}"'
        parts = ""
        for part in ("imag", "real"):
            rows = ""
            for row, energy in enumerate(energies):
                values = [getattr(spectra[name][row], part) * (1 + place) for name in VASP_ORDER]
                rows += "<r>" + " ".join(f"{value:12.6f}" for value in (energy, *values)) + "</r>\n"
            parts += f"<{part}><array><set>\n{rows}</set></array></{part}>\n"
        blocks += f"<dielectricfunction{comment}>\n{parts}</dielectricfunction>\n"
    values = {"GGA": "PE", "ALGO": "Normal", **parameters}
    settings = "".join(f'<i type="string" name="{name}">{value}</i>' for name, value in values.items())
    cell = "".join("<v>" + " ".join(f"{x:.8f}" for x in row) + "</v>" for row in 4.05 * FCC)
    structure = f'<crystal><varray name="basis">{cell}</varray></crystal><varray name="positions"><v>0 0 0</v></varray>'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vasprun.xml"
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        '<generator><i name="program" type="string">vasp</i><i name="version" type="string">6.3.0</i></generator>\n'
        f"<incar>{settings}</incar>\n"
        '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>\n'
        f'<parameters><i name="CSHIFT">{WIDTH}</i><i type="int" name="NELM">60</i><i type="int" name="NSW">0</i>'
        '<i type="int" name="IBRION">-1</i><i name="AEXX">0.0</i><i name="HFSCREEN">0.0</i>'
        f'<i type="logical" name="LHFCALC">F</i><i type="logical" name="LDAU">F</i>{settings}</parameters>\n'
        f'<atominfo><array name="atoms"><set><rc><c>{symbol}</c><c>1</c></rc></set></array><array name="atomtypes">'
        f"<set><rc><c>1</c><c>{symbol}</c><c>1.0</c><c>3.0</c><c>PAW_PBE {symbol} 01Jan2000</c></rc></set></array>"
        f'</atominfo>\n<structure name="initialpos">{structure}</structure>\n'
        '<calculation><scstep><energy><i name="e_fr_energy">-1.0</i><i name="e_0_energy">-1.0</i></energy></scstep>'
        f'<structure>{structure}</structure><varray name="forces"><v>0 0 0</v></varray>'
        f'<energy><i name="e_fr_energy">-1.0</i></energy>\n{blocks}</calculation>\n'
        f'<structure name="finalpos">{structure}</structure>\n</modeling>\n'
    )
    if squares is not None:
        write_outcar(folder, squares)
    return path


def write_outcar(folder: Path, squares: NDArray[np.float64], lattice: NDArray[np.float64] | None = None) -> Path:
    vectors = 4.05 * FCC if lattice is None else lattice
    cell = "\n".join(" ".join(f"{x:13.9f}" for x in (*row, 0, 0, 0)) for row in vectors)
    rows = "\n".join("    " + "  ".join(f"{x:10.3f}" for x in row) for row in squares)
    other = "\n".join("    " + "  ".join("240.696" for _ in range(3)) for _ in range(3))
    path = folder / "OUTCAR"
    path.write_text(
        f" vasp.6.3.0\n      direct lattice vectors                 reciprocal lattice vectors\n{cell}\n\n"
        f" plasma frequency squared (from intraband transitions) (eV^2)\n  {'-' * 40}\n{rows}\n\n"
        f" plasma frequency squared (from interband transitions, int dw w eps(2)(w)) (eV^2)\n  {'-' * 40}\n{other}\n"
    )
    return path


def write_pw_input(folder: Path, occupations: str = "smearing", ibrav: int = 2) -> Path:
    path = folder / "al.scf.in"
    path.write_text(
        f"&CONTROL\n calculation = 'scf', prefix='al'\n/\n&SYSTEM\n ibrav = {ibrav}, celldm(1) = 7.65, nat = 1,\n"
        f" ntyp = 1, occupations = '{occupations}' ! a comment\n/\nATOMIC_SPECIES\n Al1 26.98 Al.upf\n"
        "ATOMIC_POSITIONS {crystal}\n Al1 0.0d0 0 0\nK_POINTS automatic\n 8 8 8 0 0 0\n"
    )
    return path


def write_columns(path: Path, header: str, columns: Sequence[NDArray[np.float64]], width: str = "25.6f") -> None:
    rows = "\n".join("".join(format(value, width) for value in row) for row in np.column_stack(columns))
    path.write_text(f"{header}{rows}\n")


def write_simple_ip(folder: Path, drude: Mapping[str, float] | None = None) -> None:
    """Two tables of the interband part, two of the total with infinity at 0, the output and the input of pw.x."""
    folder.mkdir(parents=True, exist_ok=True)
    energies, spectra = energies_to(), tensor(energies_to())
    write_pw_input(folder)
    drude = {"xx": 9.4, "yy": 9.3, "zz": 9.2, "xy": 0.4, "xz": 0.3, "yz": 0.4} if drude is None else drude
    for part, name in (("real", "re"), ("imag", "im")):
        header = (
            f"#        Energy grid [eV]    {name.title()}(eps)_x   {name.title()}(eps)_y   {name.title()}(eps)_z\n#\n"
        )
        columns = [getattr(spectra[axis], part) for axis in ("xx", "yy", "zz")]
        write_columns(folder / f"al.eps_inter_{name}.dat", header, [energies, *columns])
        total = (
            (folder / f"al.eps_inter_{name}.dat").read_text().replace(f"{columns[0][0]:25.6f}", f"{'Infinity':>25}", 1)
        )
        (folder / f"al.eps_tot_{name}.dat").write_text(total)
    lines = "".join(f" Drude plasma frequency ({name}) = {value:10.5f} eV\n" for name, value in drude.items())
    (folder / "al_simple_ip.out").write_text(
        f"     Program SIMPLE_IP v.7.2 starts\n{lines}\n Writing output on file...\n INPUT PARAMETERS:\n"
        " drude_degauss [eV] =    0.30000\n inter broadening [eV] =    0.10000\n intra broadening [eV] =    0.20000\n"
    )


def write_epsilon_x(folder: Path, occupations: str = "fixed") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    energies, spectra = energies_to(), tensor(energies_to())
    write_pw_input(folder, occupations)
    (folder / "eps.in").write_text("&inputpp\n calculation='eps'\n/\n&energy_grid\n intersmear=0.2d0\n/\n")
    for part, name in (("real", "epsr"), ("imag", "epsi")):
        header = f"# energy grid [eV]     {name}_x  {name}_y  {name}_z\n# plasmon frequences [eV]: 17.76 17.76 17.76\n"
        columns = [getattr(spectra[axis], part) for axis in ("xx", "yy", "zz")]
        write_columns(folder / f"{name}_al.dat", header, [energies, *columns], "17.9f")


def write_gpaw(folder: Path, names: Sequence[str] = ("df.csv",), lattice: NDArray[np.float64] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    poscar(folder, lattice=lattice)
    energies = energies_to()
    for place, name in enumerate(names):
        eps = response(energies, 40.0 + 10 * place)
        table = np.column_stack([energies, eps.real, eps.imag, 2 * eps.real, 2 * eps.imag])
        (folder / name).write_text("\n".join(", ".join(f"{value:.6f}" for value in row) for row in table) + "\n")


def write_fhi_aims(folder: Path, kind: str = "Lorentzian", plasma: float = 12.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    energies, spectra = energies_to()[1:], tensor(energies_to()[1:])
    vectors = "".join("lattice_vector " + " ".join(f"{x:.6f}" for x in row) + "\n" for row in 4.05 * FCC)
    (folder / "geometry.in").write_text(f"# made by hand\n{vectors}atom_frac 0 0 0 Al\n")
    (folder / "control.in").write_text("xc   pbe\ncompute_dielectric 10 100\n")
    for name in VASP_ORDER:
        diagonal = float(name[0] == name[1])
        inter = spectra[name] - diagonal
        intra = -(plasma**2) / (energies**2 + 1j * WIDTH * energies)
        titles = (
            ", ".join(
                f"{part}({what})_{{{name}}}"
                for what in ("Vacuum", "Polarizability)^{inter", "Polarizability)^{intra", "Dielectric")
                for part in ("Re", "Im")
            )
            .replace("^{inter)", ")^{inter}")
            .replace("^{intra)", ")^{intra}")
            .replace("))", ")")
        )
        header = (
            f"# {kind} broadening used, width  {WIDTH:.4E} eV\n# Calculated plasma frequency [eV]:  {plasma:.4E}\n"
            f"# omega [eV],  {titles}\n"
        )
        columns = [energies, np.full_like(energies, diagonal), 0 * energies, inter.real, inter.imag]
        total = diagonal + inter + intra
        columns += [intra.real, intra.imag, total.real, total.imag]
        write_columns(folder / f"dielectric_function_{kind}_0.1000_{name[0]}_{name[1]}.out", header, columns, "16.6E")


def write_exciting(folder: Path, components: Sequence[str] = ("11",), intraband: str = "false") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    side = 4.05 / BOHR
    rows = "".join("<basevect>" + " ".join(f"{x:.9f}" for x in row) + "</basevect>" for row in side * FCC)
    (folder / "input.xml").write_text(
        f'<input><structure speciespath="./"><crystal>{rows}</crystal><species speciesfile="Al.xml">'
        '<atom coord="0.0 0.0 0.0"/></species></structure><groundstate xctype="GGA_PBE"/><properties>'
        f'<dielmat swidth="{WIDTH / HARTREE:.9f}" intraband="{intraband}"/></properties></input>'
    )
    energies, spectra = energies_to(), tensor(energies_to())
    for name in components:
        eps = spectra["".join("xyz"[int(index) - 1] for index in name)]
        header = "# energy (Ha) Re{eps}, Im{eps}\n"
        write_columns(folder / f"EPSILON_{name}.OUT", header, [energies / HARTREE, eps.real, eps.imag], "18.10G")


def write_elk(folder: Path, plasma: float | None = None, components: Sequence[str] = ("11", "22", "33")) -> None:
    """With a plasma frequency (eV), ε contains the Drude term as Elk adds it."""
    folder.mkdir(parents=True, exist_ok=True)
    side = 4.05 / BOHR
    rows = "\n".join("  " + " ".join(f"{x:.9f}" for x in row) for row in FCC)
    (folder / "elk.in").write_text(
        f"! fcc aluminium\ntasks\n  0\n  121\n\navec\n{rows}\n\nscale\n  {side:.9f}\n\n"
        f"swidth\n  {WIDTH / HARTREE:.9f}\n\nxctype\n  20\n\n"
        "atoms\n  1      : nspecies\n  'Al.in'  : spfname\n  1      : natoms\n  0.0 0.0 0.0 0.0 0.0 0.0\n"
    )
    energies, spectra = energies_to()[1:], tensor(energies_to()[1:])
    for name in components:
        eps = spectra["".join(sorted("xyz"[int(index) - 1] for index in name))]
        if plasma is not None and name[0] == name[1]:
            eps = eps - plasma**2 / (energies + 1j * WIDTH) ** 2
            (folder / f"PLASMA_{name}.OUT").write_text(f"{plasma / HARTREE:18.10G} : plasma frequency\n")
        blocks = [
            "\n".join(f"{x:18.10G}{y:18.10G}" for x, y in zip(energies / HARTREE, part, strict=True))
            for part in (eps.real, eps.imag)
        ]
        (folder / f"EPSILON_{name}.OUT").write_text(f"{blocks[0]}\n     \n{blocks[1]}\n")


def write_yambo(folder: Path, drude: float = 0.0, direction: str = "1.0 0.0 0.0", job: str = "RPA") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_pw_input(folder)
    energies = energies_to()
    eps, other = response(energies), response(energies, 10.0)
    header = (
        "#        Version 4.3.0\n#                http://www.yambo-code.org\n"
        f"# Absorption @ Q(1) [q->0 direction] : {direction}\n# - Energies      are Slater exchange(X)\n#\n"
        "#    E/ev[1]       EPS-Im[2]     EPS-Re[3]     EPSo-Im[4]    EPSo-Re[5]\n#\n"
    )
    path = folder / f"o-{job}.eps_q1_inv_rpa_dyson"
    write_columns(path, header, [energies, other.imag, other.real, eps.imag, eps.real], "15.6f")
    with path.open("a") as file:
        file.write(
            "# .-Input file : yambo.in\n# | % DmRngeXd\n# |   0.10000 |  0.10000 | eV      # [Xd] Damping\n# | %\n"
        )
    (folder / f"r-{job}_optics_chi").write_text(
        f" Job string(main): {job}\n [X/K] Drude contribution @[ev]: {drude:.7f}  0.1000000\n"
    )
