"""Takes a dense checkpoint apart into what earlier stages of training leave (`mm_projector.bin`, the
LLM's folder, CLIP's folder), exports the parts and the whole, and compares the bundles byte by byte.

Usage: assembled_parts.py CUMO_EXPORT CHECKPOINT
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from reference.weight_files import read_folder, write_folder, write_torch

MODEL = "assembled"
CONNECTOR, TOWER = "model.mm_projector.", "model.vision_tower."


def take_apart(checkpoint: Path, folder: Path) -> list[str]:
    """Writes the parts below `folder`; gives the arguments that put them together."""
    tensors = read_folder(checkpoint)
    stage1, llm, clip = (folder / name for name in ("checkpoint", "llm", "clip"))
    for part in (stage1, llm, clip):
        part.mkdir(parents=True)
    shutil.copy(checkpoint / "config.json", stage1)
    shutil.copytree(checkpoint / "clip", clip, dirs_exist_ok=True)
    write_torch(stage1 / "mm_projector.bin", {n: t for n, t in tensors.items() if n.startswith(CONNECTOR)})
    write_folder(clip, {n.removeprefix(TOWER): t for n, t in tensors.items() if n.startswith(TOWER)}, "bin")
    rest = {n: t for n, t in tensors.items() if not n.startswith((CONNECTOR, TOWER))}
    write_folder(llm, rest, "safetensors", shards=2)
    return [str(stage1), "--llm", str(llm), "--clip", str(clip)]


def export(program: Path, arguments: list[str], bundle: Path) -> dict[str, bytes]:
    """The bundle's files by name."""
    command = [program, "onnx", *arguments, "-o", bundle, "--name", MODEL]
    subprocess.run(command, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cumo_export", type=Path)
    parser.add_argument("checkpoint", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = export(arguments.cumo_export, [str(arguments.checkpoint)], folder / "whole.bundle")
        assembled = export(arguments.cumo_export, take_apart(arguments.checkpoint, folder), folder / "parts.bundle")
    different = [name for name in sorted(whole | assembled) if whole.get(name) != assembled.get(name)]
    for name in sorted(whole):
        print(f"{name:24} {len(whole[name]):>10} bytes  {'differs' if name in different else 'equal'}")
    # By default the folders' names, which differ.
    assert json.loads(whole["manifest.json"])["model"]["name"] == MODEL
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
