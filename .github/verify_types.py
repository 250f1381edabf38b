"""Fail unless the type of every public name is known: `PYTHON .github/verify_types.py`, by basedpyright.

PYTHON has basedpyright (whose wheel has node in it) and the package. Public are the names that `camhd_access`
offers and the members of its public classes.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import camhd_access


def main() -> str | None:
    """What is wrong; None where nothing is."""
    public = public_names()
    symbols = [
        symbol
        for symbol in read_report()["typeCompleteness"]["symbols"]
        if symbol["name"] in public or symbol["name"].rpartition(".")[0] in public
    ]
    unknown = [
        f"{symbol['name']}: {message['message']}"
        for symbol in symbols
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        for message in symbol["diagnostics"] or [{"message": "its type is not known"}]
    ]
    print(f"{len(symbols)} public names, {len(unknown)} of them without a known type")
    if len(symbols) < len(camhd_access.__all__):
        return "most of them are missing: is camhd_access installed here, and py.typed in it?"
    return "\n".join(unknown) or None


def public_names() -> set[str]:
    """As the package offers them, and where they are defined."""
    values = {name: getattr(camhd_access, name) for name in dir(camhd_access)}
    defined = [value for value in values.values() if inspect.isclass(value) or inspect.isfunction(value)]
    return {f"camhd_access.{name}" for name in values} | {f"{v.__module__}.{v.__qualname__}" for v in defined}


def read_report() -> dict:
    """Of `--verifytypes`; it finds the package by the first Python on the PATH."""
    folder = Path(sys.executable).parent
    command = [folder / "basedpyright", "--verifytypes", "camhd_access", "--ignoreexternal", "--outputjson"]
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    # Unknown types of private names make it exit with 1.
    run = subprocess.run(command, capture_output=True, check=False, text=True, env=environment)
    return json.loads(run.stdout)


if __name__ == "__main__":
    sys.exit(main())
