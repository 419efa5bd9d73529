"""Results as LaTeX tables, for the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.report import law_rows, parameter_header, parameter_rows

_SYMBOLS = {"a": r"\alpha", "Linf": r"L_\infty", "A": "A", "b": "b"}
_GREEK = {"a": r"\alpha"}
_SPECIAL = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "$": r"\$", "^": r"\^{}"}
_SPECIAL |= {"~": r"\~{}", "\\": r"\textbackslash{}", "∞": r"$\infty$", "–": "--"}


def latex(analyses: Sequence[GroupAnalysis]) -> str:
    """One table per group: laws, their parameters with intervals, AICc and error of extrapolation."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_table(analysis) for analysis in analyses)


def _table(analysis: GroupAnalysis) -> str:
    scores = {row[0]: row[1:4] for row in law_rows(analysis)}
    header = ("law", "", "value", *parameter_header(analysis)[3:], "AICc", "error beyond")
    blocks: list[list[str]] = []
    previous_law = ""
    for law, name, value, profile, bootstrap in parameter_rows(analysis):
        first = law != previous_law
        aicc, _, beyond = scores[law]
        cells = [
            _law_name(law) if first else "",
            f"${symbol(name)}$",
            *map(_in_math, (value, profile, bootstrap)),
        ]
        cells += [_in_math(aicc), _in_math(beyond)] if first else ["", ""]
        line = " & ".join(cells) + r" \\"
        if first:
            blocks.append([])
        blocks[-1].append(line)
        previous_law = law
    body = "\n\\midrule\n".join("\n".join(block) for block in blocks)
    heading = " & ".join(map(_escaped, header)) + r" \\"
    caption = f"{analysis.title}. Verdict: {analysis.comparison.verdict}."
    return (
        "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
        f"\\caption{{{_escaped(caption)}}}\n\\begin{{tabular}}{{@{{}}llrrrrr@{{}}}}\n\\toprule\n{heading}\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def symbol(name: str) -> str:
    """A parameter in math mode: a1 → α₁, aD2 → α_D2, xc → x_c."""
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    stem, index = name[0], name[1:]
    return f"{_GREEK.get(stem, stem)}_{{{index}}}"


def _law_name(name: str) -> str:
    return _escaped(name.replace("*A", "")) + (r" $\times A$" if name.endswith("*A") else "")


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _in_math(text: str) -> str:
    """A cell with its numbers in math mode, exponents as powers of ten."""
    converted = re.sub(
        r"(?<![\w.])-?[\d.]+(?:e([+-]\d+))?",
        lambda m: f"${m[0].split('e')[0]}" + (rf"\times10^{{{int(m[1])}}}" if m[1] else "") + "$",
        text,
    )
    return converted.replace("-∞", r"$-\infty$").replace("∞", r"$\infty$").replace("–", "--")
