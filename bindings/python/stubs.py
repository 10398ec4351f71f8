"""Writes the types of the package, `python/parr/__init__.pyi`, from the module that uniffi generates.

    python stubs.py GENERATED [STUB]

The generated module has annotations, but it declares parameters with defaults as `object` and builds the cases of
enumerations at run time, which type checkers cannot follow. `bindings/test` reports an outdated stub.
"""

import ast
import sys
from pathlib import Path
from typing import List

HEAD = '''"""Types of the package. Written by stubs.py; do not edit."""

import enum
import typing

__version__: str

class InternalError(Exception): ...

def error_code(error: ParrError) -> str: ...
def stream(
    session: ChatSession, text: str, options: typing.Optional[ReplyOptions] = None
) -> typing.AsyncIterator[typing.Union[Piece, Reply]]: ...
'''


def annotation(node: ast.expr) -> str:
    """A type as written, without the `object` that means "no argument"."""
    text = ast.unparse(node)
    if text.startswith("typing.Union[object, "):
        return text[len("typing.Union[object, ") : -1]
    return text


def signature(function: "ast.FunctionDef | ast.AsyncFunctionDef", indent: str) -> List[str]:
    arguments = function.args

    def parameter(argument: ast.arg, default: "ast.expr | None") -> str:
        known = argument.annotation or argument.arg in ("self", "cls")
        kind = f": {annotation(argument.annotation)}" if argument.annotation else "" if known else ": typing.Any"
        return f"{argument.arg}{kind}{' = ...' if default is not None else ''}"

    plain = arguments.args
    missing: "list[ast.expr | None]" = [None] * (len(plain) - len(arguments.defaults))
    shown = [parameter(one, default) for one, default in zip(plain, missing + list(arguments.defaults))]
    if arguments.kwonlyargs:
        shown.append("*")
        shown += [parameter(one, default) for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    lines = [f"{indent}@{ast.unparse(one)}" for one in function.decorator_list if ast.unparse(one) != "abstractmethod"]
    keyword = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    gives = annotation(function.returns) if function.returns else "None"
    lines.append(f"{indent}{keyword} {function.name}({', '.join(shown)}) -> {gives}: ...")
    return lines


def functions(body: List[ast.stmt]) -> "list[ast.FunctionDef | ast.AsyncFunctionDef]":
    return [one for one in body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))]


def fields(initializer: "ast.FunctionDef | ast.AsyncFunctionDef") -> List[str]:
    every = initializer.args.args[1:] + initializer.args.kwonlyargs
    return [f"    {one.arg}: {annotation(one.annotation)}" for one in every if one.annotation]


def cases(declared: ast.ClassDef, nested: List[ast.ClassDef]) -> List[str]:
    """An enumeration whose cases have fields. Each case gets a class, for `isinstance`."""
    lines = [f"class {declared.name}:"]
    for case in nested:
        lines.append(f"    {case.name}: typing.Type[_{declared.name}_{case.name}]")
    for case in nested:
        lines.append(f"    def is_{case.name.lower()}(self) -> bool: ...")
    for case in nested:
        lines += ["", f"class _{declared.name}_{case.name}({declared.name}):"]
        initializer = next(one for one in functions(case.body) if one.name == "__init__")
        lines += fields(initializer) + signature(initializer, "    ")
    return lines


def described(declared: ast.ClassDef) -> List[str]:
    name, bases = declared.name, [ast.unparse(base) for base in declared.bases]
    nested = [one for one in declared.body if isinstance(one, ast.ClassDef)]
    if "enum.Enum" in bases:
        values = [one for one in declared.body if isinstance(one, ast.Assign)]
        return [f"class {name}(enum.Enum):"] + [f"    {ast.unparse(one)}" for one in values]
    if name.endswith("Error") and nested:
        lines = [f"class {name}(Exception):"]
        lines += [f"    {case.name}: typing.Type[_{name}_{case.name}]" for case in nested]
        for case in nested:
            lines += ["", f"class _{name}_{case.name}({name}):"]
            made = [one for one in functions(case.body) if one.name == "__init__"]
            lines += [line for one in made for line in fields(one) + signature(one, "    ")] or ["    ..."]
        return lines
    if nested:
        return cases(declared, nested)
    lines = [f"class {name}:"]
    for one in functions(declared.body):
        if one.name == "__init__" and one.args.vararg is None:
            lines += fields(one) + signature(one, "    ")
        elif not one.name.startswith("_"):
            lines += signature(one, "    ")
    return lines if len(lines) > 1 else lines + ["    ..."]


def stub(generated: str) -> str:
    module = ast.parse(generated)
    exported = next(
        ast.literal_eval(one.value)
        for one in module.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
    )
    lines: List[str] = []
    for one in module.body:
        name = getattr(one, "name", "")
        if name not in exported or name.endswith("Protocol") or name == "InternalError":
            continue
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines += [""] + signature(one, "")
        # An error is declared twice, first without its cases.
        elif isinstance(one, ast.ClassDef) and not (name.endswith("Error") and one.bases):
            lines += [""] + described(one)
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = stub(Path(sys.argv[1]).read_text())
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text)
    else:
        sys.stdout.write(text)
