"""Peak memory and time of an f16 export, against the time that copying the checkpoint's bytes takes.

Usage: cargo xtask bench export_memory CHECKPOINT [--rounds N] [--target onnx|ort-cpu]

Copy and export alternate, each from a cold page cache, each timed until its bytes are on the disk
(sync), beside the checkpoint on the same file system. Printed: the export's largest resident set
(mapped pages count; private memory is shown apart) and the ratio of the medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEMORY_LIMIT = 512 << 20
TIME_LIMIT = 1.25
MIB = 1 << 20


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def forget_cached(folder: Path) -> None:
    """Takes a folder's pages out of the page cache; needs no administrator's rights."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


class Run:
    """A command run to its end and synced: seconds, largest resident set, largest private memory."""

    def __init__(self, command: list[str], about: str):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.private = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            self.private = max(self.private, anonymous(process.pid))
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.before_sync = time.perf_counter() - started
        os.sync()
        self.seconds = time.perf_counter() - started
        self.resident = usage.ru_maxrss * 1024
        self.processor = usage.ru_utime + usage.ru_stime
        if process.returncode:
            raise SystemExit(f"`{' '.join(command)}` exited with {process.returncode}")
        print(
            f"{about:8} {self.seconds:7.1f} s (sync {self.seconds - self.before_sync:.1f} s, "
            f"processor {self.processor:.1f} s)  resident {self.resident / MIB:6.0f} MiB, "
            f"private {self.private / MIB:6.0f} MiB",
            flush=True,
        )


def anonymous(pid: int) -> int:
    """Bytes of private memory that a process holds now."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--target", default="onnx")
    arguments = parser.parse_args()
    checkpoint = arguments.checkpoint.resolve()
    exporter = os.environ.get("CUMO_EXPORT", "cumo-export")
    size, free = folder_bytes(checkpoint), shutil.disk_usage(checkpoint).free
    if free < size + (1 << 30):
        print(f"{size / 1e9:.1f} GB are needed beside the checkpoint, {free / 1e9:.1f} are free")
        return 1

    copies, exports = [], []
    for _ in range(arguments.rounds):
        for kind in ("copy", "export"):
            with tempfile.TemporaryDirectory(prefix="bench-", dir=checkpoint.parent) as folder:
                output = str(Path(folder) / "output")
                forget_cached(checkpoint)
                if kind == "copy":
                    copies.append(Run(["cp", "-r", str(checkpoint), output], kind))
                else:
                    options = ["--dtype", "f16", "--target", arguments.target]
                    command = [exporter, "onnx", str(checkpoint), "-o", output, *options]
                    exports.append(Run(command, kind))

    copy, export = (statistics.median(run.seconds for run in runs) for runs in (copies, exports))
    resident = max(run.resident for run in exports)
    rate = size / 1e6 / copy
    print(f"checkpoint: {size / 1e9:.2f} GB; copy {copy:.1f} s ({rate:.0f} MB/s), export {export:.1f} s")
    print(f"time ratio {export / copy:.2f} (limit {TIME_LIMIT})")
    print(f"peak resident {resident / MIB:.0f} MiB (limit {MEMORY_LIMIT / MIB:.0f})")
    return 0 if export / copy <= TIME_LIMIT and resident <= MEMORY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
