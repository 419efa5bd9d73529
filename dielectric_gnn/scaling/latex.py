"""Analyses as LaTeX tables, for the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dielectric_gnn.scaling.analysis import Analysis
from dielectric_gnn.scaling.report import law_rows, parameter_header, parameter_rows

_SYMBOLS = {"a": r"\alpha", "Linf": r"L_\infty", "A": "A", "b": "b"}
_GREEK = {"a": r"\alpha"}
_SPECIAL = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "$": r"\$", "^": r"\^{}"}
_SPECIAL |= {"~": r"\~{}", "\\": r"\textbackslash{}", "∞": r"$\infty$", "–": "--"}


def latex(analyses: Sequence[Analysis]) -> str:
    """A table for each group: laws, their parameters with intervals, and what tells laws apart."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_table(analysis) for analysis in analyses)


def _table(analysis: Analysis) -> str:
    scores = {row[0]: row[1:4] for row in law_rows(analysis)}
    header = ("law", "", "value", *parameter_header(analysis)[3:], "AICc", "error beyond")
    blocks: list[list[str]] = []
    before = ""
    for law, name, value, profile, drawn in parameter_rows(analysis):
        first = law != before
        aicc, _, beyond = scores[law]
        cells = [_law(law) if first else "", f"${symbol(name)}$", *map(_number, (value, profile, drawn))]
        cells += [_number(aicc), _number(beyond)] if first else ["", ""]
        line = " & ".join(cells) + r" \\"
        if first:
            blocks.append([])
        blocks[-1].append(line)
        before = law
    body = "\n\\midrule\n".join("\n".join(block) for block in blocks)
    heading = " & ".join(map(_text, header)) + r" \\"
    caption = f"{analysis.title}. Verdict: {analysis.comparison.verdict}."
    return (
        "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
        f"\\caption{{{_text(caption)}}}\n\\begin{{tabular}}{{@{{}}llrrrrr@{{}}}}\n\\toprule\n{heading}\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def symbol(name: str) -> str:
    """A parameter as mathematics: a1 → α₁, aD2 → α_D2, xc → x_c."""
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    stem, index = name[0], name[1:]
    return f"{_GREEK.get(stem, stem)}_{{{index}}}"


def _law(name: str) -> str:
    return _text(name.replace("*A", "")) + (r" $\times A$" if name.endswith("*A") else "")


def _text(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _number(text: str) -> str:
    """Numbers of a cell as mathematics, with powers of ten for exponents."""
    shown = re.sub(
        r"(?<![\w.])-?[\d.]+(?:e([+-]\d+))?",
        lambda m: f"${m[0].split('e')[0]}" + (rf"\times10^{{{int(m[1])}}}" if m[1] else "") + "$",
        text,
    )
    return shown.replace("-∞", r"$-\infty$").replace("∞", r"$\infty$").replace("–", "--")
