"""`python -m benchmarks`: measure, print and store the results; `--docs` writes them into the docs."""

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks import crops, decode, decoder, fetch, fresh, index, memory, remote, render, server, twins
from benchmarks.harness import Case, machine_facts, measure, save
from benchmarks.material import FOLDER, Material, make_material
from benchmarks.servers import emulated_link, serve
from camhd_access.decoding.machine_code import find_kernel


def iter_cases(material: Material, facts: dict[str, str], *, full: bool) -> Iterator[Case]:
    """All cases, each with the servers that it needs."""
    yield from decode.cases(material, full=full)
    yield from decoder.cases(material, full=full)
    yield from crops.cases(material)
    yield from twins.cases(material)
    yield from fresh.cases(material)
    yield from index.cases(material)
    yield from memory.cases(material, full=full)
    with serve(material.folder, core=0) as origin:
        yield from fetch.cases(material, origin)
    with serve(material.folder) as origin:
        facts["server"] = origin.kind
        yield from remote.cases(material, origin, full=full)
        yield from fetch.cache_cases(material, origin)
        yield from fetch.transport_cases(material, origin)
        yield from server.cases(material, origin)
    for mbit in (1000, 100):
        with emulated_link(material.folder, mbit=mbit) as origin:
            facts["link"] = origin.kind
            yield from remote.cases(material, origin, full=full)
            yield from fetch.transport_cases(material, origin)
            yield crops.link_case(material, origin)
            yield twins.link_case(material, origin)
            if mbit == 100:  # over faster links whole frames are fetched, which is cheaper there
                yield crops.bytes_case(material, origin)
            else:
                yield from fetch.cache_cases(material, origin)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more frames, and more rounds")
    parser.add_argument("--rounds", type=int, help="how often each way is run (3; 5 with --full)")
    parser.add_argument("--only", default="", help="cases whose names match this regular expression")
    parser.add_argument("--docs", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    material = make_material(full=options.full)
    find_kernel(waits=True)  # so that new processes find it in the cache on disk
    facts = machine_facts()
    rounds = options.rounds or (5 if options.full else 3)
    kind = "full" if options.full else "quick"
    path = Path(FOLDER, f"results-{kind}.json")
    measured = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends child processes
    with closing(iter_cases(material, facts, full=options.full)) as cases:
        for position, case in enumerate(cases):
            if re.search(options.only, case.name):
                found = measure(case, rounds=rounds) | {"position": position}
                measured = save(path, facts | {"kind": kind}, found)
    print(f"\n{render.budget_table(measured)}\n\nAll figures: {path}")
    if options.docs:
        render.write_docs(path)


if __name__ == "__main__":
    main()
