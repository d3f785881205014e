"""What a stage's result depends on, as one digest.

An identity covers the stage's configuration, the identities of its inputs, the content of weights and codebooks, the
versions of the third-party packages that the stage declares, and the code that measures. The code is found by analysis:
from an entry point (`module:function` or `module:Class`) through every top-level definition that it reaches, in any
module of the same package family, by following names and imports. So editing one family, one table schema or one
plotting function touches only the stages that reach it.

Code is taken as syntax trees without comments, docstrings, annotations and `__version__`, in a form that is equal on
Python 3.11 to 3.13 (`ast.dump` is not): the stage of a release without changes to it keeps its identity.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Symbol = tuple[str, str | None]
"""(module, top-level name), or (module, None) for a whole module."""


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value made of dicts, lists, strings, numbers, booleans and None."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@functools.cache
def package_version(name: str) -> str:
    """The installed version without its local tag (`2.13.0+cpu` -> `2.13.0`), or 'absent'."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "absent"


@functools.cache
def _package_folder(package: str) -> Path | None:
    """The folder of a top-level package, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin and spec.origin.endswith("__init__.py") else None


@functools.cache
def module_path(module: str) -> Path | None:
    top, _, rest = module.partition(".")
    folder = _package_folder(top)
    if folder is None:
        return None
    base = folder.joinpath(*rest.split(".")) if rest else folder
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


@dataclass(frozen=True)
class _Module:
    name: str
    is_package: bool
    statements: tuple[ast.stmt, ...]
    bindings: dict[str, tuple[int, ...]]
    """Top-level name -> the statements that bind it."""
    unbound: tuple[int, ...]
    """Statements that bind nothing (calls made at import time)."""


@functools.cache
def _load(module: str) -> _Module | None:
    path = module_path(module)
    if path is None:
        return None
    statements = tuple(ast.parse(path.read_bytes()).body)
    bindings: dict[str, list[int]] = {}
    unbound = []
    for i, statement in enumerate(statements):
        if _is_docstring(statement):
            continue
        names = set(_bound_names(statement))
        if not names:
            unbound.append(i)
        for name in names:
            bindings.setdefault(name, []).append(i)
    return _Module(
        module, path.name == "__init__.py", statements, {k: tuple(v) for k, v in bindings.items()}, tuple(unbound)
    )


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import():
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.ImportFrom():
            for alias in statement.names:
                yield alias.asname or alias.name
        case _:
            for node in _in_scope(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
                elif isinstance(node, ast.stmt) and node is not statement:
                    yield from _bound_names(node)


def _in_scope(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, but for the variables of comprehensions: these are names of their own scope."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.comprehension) and child is node.target:
            continue
        yield from _in_scope(child)


def _children(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Fields that count: no annotations, no empty ones, no `kind`, no docstrings."""
    for name, value in ast.iter_fields(node):
        if value is None or value == [] or name in {"annotation", "returns", "kind", "type_comment", "type_params"}:
            continue
        if name == "body" and isinstance(value, list):
            value = [child for child in value if not _is_docstring(child)]
        yield name, value


def _canonical(node: Any) -> Any:
    if isinstance(node, ast.AST):
        return [type(node).__name__, {name: _canonical(value) for name, value in _children(node)}]
    if isinstance(node, list):
        return [_canonical(child) for child in node]
    return node if isinstance(node, str | int | bool | None) else repr(node)


def _used(node: Any) -> Iterator[ast.AST]:
    """Nodes that have an effect when the code runs (annotations have none)."""
    if isinstance(node, ast.AST):
        yield node
        for _, value in _children(node):
            yield from _used(value)
    elif isinstance(node, list):
        for child in node:
            yield from _used(child)


def _imported(module: _Module, statement: ast.AST) -> Iterator[Symbol]:
    """What an import statement reaches: one name of a module, or a whole module."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name, None
    elif isinstance(statement, ast.ImportFrom):
        base = statement.module or ""
        if statement.level:
            package = module.name if module.is_package else module.name.rpartition(".")[0]
            base = importlib.util.resolve_name("." * statement.level + base, package)
        for alias in statement.names:
            submodule = f"{base}.{alias.name}"
            if module_path(base) and module_path(submodule) and alias.name not in _names(base):
                yield submodule, None
            else:
                yield base, None if alias.name == "*" else alias.name


def _names(module: str) -> set[str]:
    loaded = _load(module)
    return set(loaded.bindings) if loaded else set()


def _skip(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "__version__" for target in statement.targets
    )


def _is_followed(module: _Module, statement: ast.stmt) -> bool:
    """True for imports of our own code, which is digested itself; others count by name."""
    symbols = list(_imported(module, statement))
    return bool(symbols) and all(name.partition(".")[0] == module.name.partition(".")[0] for name, _ in symbols)


def reach(entries: list[str]) -> dict[str, set[int]]:
    """Module -> the top-level statements reached from entry points `module:name` (or `module` for all of it).

    Only modules of the entry points' own top-level packages and of spokeneval are followed.
    """
    packages = {"spokeneval"} | {entry.partition(".")[0].partition(":")[0] for entry in entries}
    todo: list[Symbol] = [(entry.partition(":")[0], entry.partition(":")[2] or None) for entry in entries]
    reached: dict[str, set[int]] = {}
    seen: set[Symbol] = set()
    while todo:
        symbol = todo.pop()
        if symbol in seen or symbol[0].partition(".")[0] not in packages:
            continue
        seen.add(symbol)
        name, wanted = symbol
        module = _load(name)
        if module is None:
            continue
        if wanted is None:
            indices = set(range(len(module.statements)))
        else:
            indices = {*module.bindings.get(wanted, ()), *module.unbound}
        todo += _follow(module, indices - reached.get(name, set()), reached.setdefault(name, set()))
    return reached


def _follow(module: _Module, fresh: set[int], reached: set[int]) -> list[Symbol]:
    """Add statements and all that they use within their module; return what they import."""
    imports: list[Symbol] = []
    todo = list(fresh)
    while todo:
        i = todo.pop()
        if i in reached:
            continue
        reached.add(i)
        statement = module.statements[i]
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports += _imported(module, statement)
            continue
        for node in _used(statement):
            if isinstance(node, ast.Name):
                todo += [j for j in module.bindings.get(node.id, ()) if j not in reached]
            elif isinstance(node, ast.Import | ast.ImportFrom):
                imports += _imported(module, node)
    return imports


@functools.cache
def _statement_digest(name: str, i: int) -> str | None:
    """The digest of one top-level statement; None where it does not count."""
    module = _load(name)
    assert module is not None
    statement = module.statements[i]
    if _is_docstring(statement) or _skip(statement) or _is_followed(module, statement):
        return None
    return digest(_canonical(statement))


@functools.cache
def _entries_digest(entries: tuple[str, ...]) -> str:
    code = [
        [name, found]
        for name, indices in sorted(reach(list(entries)).items())
        for i in sorted(indices)
        if (found := _statement_digest(name, i)) is not None
    ]
    return digest(code)


def code_digest(*entries: str) -> str:
    """The digest of all code reached from entry points `module:name`.

    Raises LookupError where an entry point does not exist: it must not silently count for nothing.
    """
    for entry in entries:
        module, _, name = entry.partition(":")
        loaded = _load(module)
        if loaded is None or (name and name not in loaded.bindings):
            raise LookupError(f"entry point '{entry}': there is no such module or name")
    return _entries_digest(tuple(sorted(entries)))
