#!/usr/bin/env python3
"""Reads the machine code of compiled kernels, with no GPU: is what makes them fast in it?

    check_sass.py --cuda target/native/cuda/nvidia/cu13 --architectures 80,90 OBJECT...

Prints, for each architecture and kernel, registers, bytes of stack, and instructions by kind. Fails
(exit status 1) when an architecture is missing, when a grouped product has no tensor-core (HMMA),
asynchronous copy (LDGSTS) or matrix load (LDSM) instruction or spills registers (STL, LDL), or when
the matrix-vector product and the copy of rows into a cache do not load 16 bytes at a time (LDG.128).
"""

import argparse
import pathlib
import re
import subprocess
import sys
from collections import defaultdict

# By an instruction's name up to its first dot; of LDG, those with .128 count.
KINDS = {"HMMA": "HMMA", "LDGSTS": "LDGSTS", "LDSM": "LDSM", "LDG": "LDG.128", "STL": "spills", "LDL": "spills"}
COLUMNS = list(dict.fromkeys(KINDS.values()))
# "        /*0fe0*/              @!P0 STS [R0.X4], R13 ;"
INSTRUCTION = re.compile(r"\*/\s+(?:@!?U?P\w+\s+)?(HMMA|LDGSTS|LDSM|LDG|STL|LDL)(\.\S+)?\s")
TYPES = {"6__half": "f16", "13__nv_bfloat16": "bf16"}
GROUPED = re.compile(r"groupedI(\d+\w+?)NS_4TileI((?:Li\d+E)+)EELb([01])ELb([01])E")
VECTOR = re.compile(r"multiply_vectorsI(\d+\w+?)Li(\d+)E")
ROWS = re.compile(r"write_rowsI(5uint4|j|h)E")
ROW_UNITS = {"5uint4": 16, "j": 4, "h": 1}


class Kernel:
    """A kernel's readable name, and what its machine code must and must not have."""

    def __init__(self, mangled):
        self.name, self.needs, self.forbids = mangled, (), ()
        if found := GROUPED.search(mangled):
            rows, columns, depth, stages = re.findall(r"\d+", found[2])[:4]
            gated = "gated " if found[3] == "1" else ""
            guarded = found[4] == "1"
            self.name = (
                f"grouped {TYPES[found[1]]} {gated}{'guarded ' if guarded else ''}"
                f"{rows}x{columns}x{depth}, {stages} stages"
            )
            self.needs = ("HMMA", "LDSM") if guarded else ("HMMA", "LDSM", "LDGSTS")
            self.forbids = ("spills",)
        elif found := VECTOR.search(mangled):
            self.name = f"multiply_vectors {TYPES[found[1]]} {found[2]} rows"
            self.needs, self.forbids = ("LDG.128",), ("spills",)
        elif found := ROWS.search(mangled):
            self.name = f"write_rows, {ROW_UNITS[found[1]]} bytes a thread"
            self.needs, self.forbids = ("LDG.128",) if found[1] == "5uint4" else (), ("spills",)

    @property
    def checked(self):
        return bool(self.forbids)


def run(tool, *arguments):
    result = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{tool} {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def resources(tool, path):
    """(architecture, mangled name) -> (registers, stack bytes)."""
    found, architecture, function = {}, None, None
    for line in run(tool, "-res-usage", path).splitlines():
        if match := re.search(r"arch = sm_(\d+)", line):
            architecture = int(match[1])
        elif match := re.search(r"Function (\S+):", line):
            function = match[1]
        elif match := re.search(r"REG:(\d+) STACK:(\d+)", line):
            found[architecture, function] = int(match[1]), int(match[2])
    return found


def instructions(tool, path, architecture):
    """Mangled name -> kind -> number."""
    counts, function = defaultdict(lambda: dict.fromkeys(COLUMNS, 0)), None
    for line in run(tool, "-sass", "-arch", f"sm_{architecture}", path).splitlines():
        if match := re.search(r"Function : (\S+)", line):
            function = match[1]
        elif function and (match := INSTRUCTION.search(line)):
            if match[1] != "LDG" or ".128" in (match[2] or ""):
                counts[function][KINDS[match[1]]] += 1
    return counts


def faults(kernel, counts):
    missing = [f"no {kind}" for kind in kernel.needs if counts[kind] == 0]
    return missing + [f"{counts[kind]} {kind}" for kind in kernel.forbids if counts[kind] > 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cuda", type=pathlib.Path, required=True, help="folder with bin/cuobjdump")
    parser.add_argument("--architectures", required=True, help="that must be there: 80,90,...")
    parser.add_argument("objects", nargs="+", metavar="OBJECT")
    options = parser.parse_args()
    tool = str(options.cuda / "bin" / "cuobjdump")
    wanted = {int(architecture) for architecture in options.architectures.split(",")}

    wrong, rows = [], []
    for path in options.objects:
        found = resources(tool, path)
        present = {architecture for architecture, _ in found}
        wrong += [f"{path}: nothing for sm_{a}" for a in sorted(wanted - present)]
        if not any(Kernel(function).checked for _, function in found):
            wrong.append(f"{path}: no kernel that is to be checked")
        for architecture in sorted(present):
            counts = instructions(tool, path, architecture)
            for function, by_kind in counts.items():
                kernel = Kernel(function)
                if not kernel.checked:
                    continue
                registers, stack = found[architecture, function]
                rows.append((architecture, kernel.name, registers, stack, *by_kind.values()))
                place = f"sm_{architecture}, {kernel.name}"
                wrong += [f"{place}: {fault}" for fault in faults(kernel, by_kind)]
    print(f"| sm | {'kernel':<46} | registers | stack | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|" + "---|" * len(COLUMNS))
    for architecture, name, registers, stack, *counted in sorted(rows):
        print(f"| {architecture} | {name:<46} | {registers} | {stack} | {' | '.join(map(str, counted))} |")
    for line in wrong:
        print(f"WRONG {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
