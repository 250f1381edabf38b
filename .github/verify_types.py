"""Fail unless pyright knows the type of every public name: `python .github/verify_types.py PYTHON`.

PYTHON has the package installed from a wheel. Public are the names that `camhd_access` offers and the members
of its public classes.
"""

import json
import subprocess
import sys

LIST = """
import inspect, json, camhd_access
names = []
for name in dir(camhd_access):
    names.append(f"camhd_access.{name}")
    value = getattr(camhd_access, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        names.append(f"{value.__module__}.{value.__qualname__}")
print(json.dumps(names))
"""


def main(python: str) -> str | None:
    """What is wrong; None where nothing is."""
    listed = subprocess.run([python, "-c", LIST], capture_output=True, check=True, text=True)
    public = set(json.loads(listed.stdout))
    command = [
        "pyright",
        "--pythonpath",
        python,
        "--verifytypes",
        "camhd_access",
        "--ignoreexternal",
        "--outputjson",
    ]
    report = json.loads(subprocess.run(command, capture_output=True, check=False, text=True).stdout)
    symbols = [
        symbol
        for symbol in report["typeCompleteness"]["symbols"]
        if symbol["name"] in public or symbol["name"].rpartition(".")[0] in public
    ]
    unknown = [
        f"{symbol['name']}: {message['message']}"
        for symbol in symbols
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        for message in symbol["diagnostics"] or [{"message": "its type is not known"}]
    ]
    print(f"{len(symbols)} public names, {len(unknown)} of them without a known type")
    return "\n".join(unknown) or None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
