"""Generate the stubs in copyhound/v1 from proto/, or check that they are up to date.

Usage: python proto/generate.py [--check | --image FILE]

``--check`` exits with status 1 and names the files that differ. ``--image`` writes a descriptor image for
buf instead.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("copyhound/v1")


def include_paths(scratch: Path) -> list[str]:
    """Folders to import from: ours, protobuf's own, and googleapis' common protos."""
    common = Path(annotations_pb2.__file__).parent.parent.parent
    # googleapis-common-protos ships operations.proto under another name than the one that its
    # descriptor, and everybody else, knows it by.
    target = scratch / "google/longrunning/operations.proto"
    target.parent.mkdir(parents=True)
    shutil.copyfile(common / "google/longrunning/operations_proto.proto", target)
    builtin = Path(protoc.__file__).parent / "_proto"
    return [f"-I{path}" for path in (ROOT / "proto", scratch, builtin, common)]


def run(arguments: list[str]) -> None:
    """Run protoc on all of our files."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = sorted(str(p) for p in (ROOT / "proto" / PACKAGE).glob("*.proto"))
        status = protoc.main(["protoc", *include_paths(Path(scratch)), *arguments, *sources])
    if status:
        sys.exit(status)


def generate(target: Path) -> None:
    """Write messages, services and their type stubs below `target`."""
    outputs = ("python", "grpc_python", "mypy", "mypy_grpc")
    run([f"--{kind}_out={target}" for kind in outputs])
    (target / PACKAGE / "__init__.py").write_text('"""Generated from proto/copyhound/v1."""\n')


def main() -> None:
    """Generate, check or write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--image", type=Path)
    options = parser.parse_args()
    if options.image:
        flags = ["--include_imports", "--include_source_info"]
        run([*flags, f"--descriptor_set_out={options.image}"])
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = {p.name: p.read_bytes() for p in (Path(scratch) / PACKAGE).iterdir()}
    if not options.check:
        shutil.rmtree(ROOT / PACKAGE, ignore_errors=True)
        (ROOT / PACKAGE).mkdir()
        for name, content in fresh.items():
            (ROOT / PACKAGE / name).write_bytes(content)
        return
    kept = {p.name: p.read_bytes() for p in (ROOT / PACKAGE).iterdir() if p.is_file()}
    differing = sorted(n for n in fresh.keys() | kept.keys() if fresh.get(n) != kept.get(n))
    if differing:
        sys.exit(f"out of date: {', '.join(differing)}; run `python proto/generate.py`")


if __name__ == "__main__":
    main()
