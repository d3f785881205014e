"""Identities: content and code count; comments, dates, formatting and what a stage does not reach do not."""

import subprocess
import sys
import textwrap

import pytest

from spokeneval.identity import canonical_json, digest

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from spokeneval.identity import code_digest, reach
print(code_digest({entry!r}))
"""


def code_of(folder, entry="family.stage:measure"):
    """The digest in a process of its own: identities are cached within one."""
    program = PROGRAM.format(folder=str(folder), entry=entry)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def family(tmp_path):
    """A small package: stage.measure uses helper.used, not helper.unused."""
    folder = tmp_path / "family"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Docs."""\n__version__ = "1.0"\n')
    (folder / "helper.py").write_text(
        "K = 1\nOTHER = 2\ndef used(x):\n    return x + K\ndef unused(x):\n    return OTHER\n"
    )
    (folder / "stage.py").write_text(
        textwrap.dedent(
            '''
            """Conventions."""
            from __future__ import annotations
            from family.helper import used
            def measure(x: int) -> int:
                """Docs."""
                return used(x)  # a comment
            '''
        )
    )
    return tmp_path


def edit(folder, name, old, new):
    path = folder / "family" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stage.py", "# a comment", "# another comment"),
        ("stage.py", '"""Docs."""', '"""Other docs, longer."""'),
        ("stage.py", '"""Conventions."""', ""),
        ("stage.py", "x: int) -> int", "x: float)"),
        ("stage.py", "return used(x)", "return used(\n        x\n    )"),
        ("__init__.py", "1.0", "2.0"),
        ("helper.py", "OTHER = 2", "OTHER = 3"),
        ("helper.py", "return OTHER", "return OTHER + 1"),
    ],
)
def test_what_does_not_change_the_result_keeps_the_identity(family, name, old, new):
    before = code_of(family)
    edit(family, name, old, new)
    assert code_of(family) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stage.py", "return used(x)", "return used(x) + 1"),
        ("helper.py", "K = 1", "K = 2"),
        ("helper.py", "x + K", "x - K"),
    ],
)
def test_code_that_the_stage_reaches_changes_the_identity(family, name, old, new):
    before = code_of(family)
    edit(family, name, old, new)
    assert code_of(family) != before


def test_imports_inside_functions_and_third_party_imports_count(family):
    edit(family, "stage.py", "from family.helper import used\n", "")
    edit(family, "stage.py", "return used(x)", "from family.helper import used\n    return used(x)")
    before = code_of(family)
    edit(family, "helper.py", "K = 1", "K = 2")
    assert code_of(family) != before
    edit(family, "stage.py", "def measure", "from math import sin as f\nZ = f(1)\ndef measure")
    edit(family, "stage.py", "return used(x)", "return used(x) + Z")
    with_sin = code_of(family)
    edit(family, "stage.py", "import sin as f", "import cos as f")
    assert code_of(family) != with_sin


def test_a_stage_of_the_package_does_not_depend_on_plots_or_configuration():
    program = (
        "from spokeneval.identity import reach\n"
        "print(*reach(['spokeneval.likelihood:score_dataset', 'spokeneval.models.causal_lm:CausalUnitLM']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "spokeneval.likelihood" in modules
    assert not [m for m in modules if m.startswith(("spokeneval.report", "spokeneval.config", "spokeneval.registry"))]


def test_the_digest_is_of_values_not_of_their_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": 2}) != digest({"a": 2, "b": 1})
    assert canonical_json({"b": None, "a": True}) == '{"a":true,"b":null}'


def test_the_variable_of_a_comprehension_names_nothing_outside_of_it(family):
    """`x` of `table` is not the `x` of the function that a stage reaches."""
    (family / "family/helper.py").write_text(
        "K = 1\ntable = {x: [y for y in (x, 5)] for x in (1, 2)}\ndef used(x):\n    return x + K\n"
    )
    before = code_of(family)
    edit(family, "helper.py", "(x, 5)", "(x, 6)")
    assert code_of(family) == before
    edit(family, "helper.py", "return x + K", "return x + K + len(table)")
    reached = code_of(family)
    edit(family, "helper.py", "(x, 6)", "(x, 7)")
    assert code_of(family) != reached
