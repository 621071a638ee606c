"""Markdown and LaTeX of tables of text."""

from __future__ import annotations

import re

from ialp_rllib.compare.page.formats import latex, latex_escape, markdown

HEAD = ["Scenario", "R_avg", "R"]
ROWS = [["a|b_c", "4.08 [3.90, 4.20]", "–"], ["[x]", "1%", "2"]]


def test_markdown_escapes_pipes():
    lines = markdown(HEAD, ROWS).splitlines()
    assert lines[:2] == ["| Scenario | R\\_avg | R |", "| --- | --- | --- |"]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}


def test_latex_is_escaped_and_balanced():
    code = latex(HEAD, ROWS, "100% of R_avg", "table3", 1)
    assert r"\caption{100\% of R\_avg}" in code and r"\label{tab:table3}" in code
    assert r"\begin{tabular}{lrr}" in code and r"R\_avg" in code and "{[x]} &" in code
    assert code.count(r"\midrule") == 2 and code.count(r"\toprule") == code.count(r"\bottomrule") == 1
    assert [len(re.findall(r"(?<!\\)&", line)) for line in code.splitlines() if line.endswith(r" \\")] == [2, 2, 2]
    bare = re.sub(r"\\[{}]", "", code)
    assert bare.count("{") == bare.count("}")


def test_latex_leaves_out_empty_columns():
    code = latex([*HEAD, "published"], [[*row, "–"] for row in ROWS], "c", "n", 1)
    assert "published" not in code
    assert r"\begin{tabular}{lrr}" in code
    assert r"a\textbar{}b\_c & 4.08 [3.90, 4.20] & --" in code


def test_latex_escapes_special_characters():
    assert latex_escape(r"a_b & 5% {x} \y ^~#$") == (
        r"a\_b \& 5\% \{x\} \textbackslash{}y \textasciicircum{}\textasciitilde{}\#\$"
    )
