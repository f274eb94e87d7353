"""Generate the Python stubs and check the API definition in proto/; works offline.

    python tools/proto.py generate   write the stubs, one Python package per proto package
    python tools/proto.py check      fail when the stubs on disk are not what proto/ generates
    python tools/proto.py lint       check style and comments
    python tools/proto.py breaking   check compatibility with the last release

The stubs of proto package `foresight.v1` are the Python package `foresight.v1`, so that what the
generator writes imports as it is. A package of stubs is generated as a whole: nothing in it is
written by hand. `buf` judges a descriptor image made by protoc, because on sources it would fetch
the imported google/ files from a registry.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
STUBS = ROOT / "clients"
BIN = Path(sys.executable).parent


def sources(tree: Path) -> list[Path]:
    """Return the proto files below `tree`, relative to it, in a fixed order."""
    return sorted(path.relative_to(tree) for path in tree.rglob("*.proto"))


def protoc(tree: Path, files: list[Path], *options: str) -> None:
    """Run protoc in `tree`; google/rpc comes with googleapis-common-protos in site-packages."""
    includes = ["-I.", f"-I{sysconfig.get_path('purelib')}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *options, *map(str, files)]
    subprocess.run(command, cwd=tree, check=True)


def write_stubs(target: Path) -> None:
    """Generate the stubs of every proto package below `target`."""
    files = sources(PROTO)
    protoc(
        PROTO,
        files,
        f"--plugin=protoc-gen-mypy={BIN / 'protoc-gen-mypy'}",
        f"--python_out={target}",
        f"--mypy_out=quiet:{target}",
    )
    protoc(
        PROTO,
        # For a file without a service the plugins would write modules without content.
        [file for file in files if re.search(r"^service ", (PROTO / file).read_text(), re.M)],
        f"--plugin=protoc-gen-mypy_grpc={BIN / 'protoc-gen-mypy_grpc'}",
        f"--grpc_python_out={target}",
        f"--mypy_grpc_out=quiet:{target}",
    )
    for package in {file.parent for file in files}:
        docstring = f'"""Stubs generated from proto/{package.as_posix()}; do not edit."""\n'
        (target / package / "__init__.py").write_text(docstring)


def stubs_of(tree: Path) -> dict[Path, bytes]:
    """Return the content of every file in the generated packages below `tree`."""
    packages = {file.parent for file in sources(PROTO)}
    files = (file for package in packages for file in (tree / package).glob("*.py*"))
    return {file.relative_to(tree): file.read_bytes() for file in files}


def generate() -> int:
    """Replace the generated packages."""
    for package in {file.parent for file in sources(PROTO)}:
        shutil.rmtree(STUBS / package, ignore_errors=True)
    write_stubs(STUBS)
    return 0


def check() -> int:
    """Compare the stubs on disk with what the proto files generate."""
    with tempfile.TemporaryDirectory() as scratch:
        write_stubs(Path(scratch))
        expected, found = stubs_of(Path(scratch)), stubs_of(STUBS)
    wrong = sorted(
        file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file)
    )
    for file in wrong:
        problem = "stale" if file not in expected else "differs" if file in found else "missing"
        print(f"{(STUBS / file).relative_to(ROOT)}: {problem}")
    print("stubs: run `make proto`" if wrong else f"stubs: {len(expected)} files are up to date")
    return 1 if wrong else 0


def write_image(tree: Path, image: Path) -> None:
    """Compile the proto files of `tree`, their comments and imports into a descriptor image."""
    protoc(
        tree,
        sources(tree),
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
    )


def buf(command: str, image: Path, *options: str) -> int:
    """Let buf judge `image` by the rules in proto/buf.yaml; return its exit status."""
    rules = ["--config", str(PROTO / "buf.yaml")]
    return subprocess.run([BIN / "buf", command, image, *options, *rules]).returncode


def lint() -> int:
    """Check style and comments."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "image.binpb")
        write_image(PROTO, image)
        status = buf("lint", image)
    print(f"proto lint: {'failed' if status else f'{len(sources(PROTO))} files are clean'}")
    return status


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in the project; a failure is an answer too."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)


def base_revision() -> str:
    """Return the last tag before what is checked, else the commit before it.

    What is checked is the working tree; when proto/ is as committed, that is HEAD itself.
    """
    before = "HEAD" if git("status", "--porcelain", "--", "proto").stdout else "HEAD^"
    tag = git("describe", "--tags", "--abbrev=0", before)
    return before if tag.returncode else tag.stdout.decode().strip()


def breaking() -> int:
    """Check that clients of the base revision keep working, on the wire and in source."""
    base = base_revision()
    if git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").returncode:
        print("proto breaking: nothing to compare with (first commit, shallow clone or no git)")
        return 0
    archive = git("archive", "--format=zip", base, "proto")
    with tempfile.TemporaryDirectory() as scratch:
        if archive.returncode == 0:
            zipfile.ZipFile(io.BytesIO(archive.stdout)).extractall(scratch)
        before = Path(scratch, "proto")
        if not sources(before):
            print(f"proto breaking: nothing to compare with ({base} has no proto files)")
            return 0
        old, new = Path(scratch, "old.binpb"), Path(scratch, "new.binpb")
        write_image(before, old)
        write_image(PROTO, new)
        status = buf("breaking", new, "--against", str(old))
    print(f"proto breaking: {'in' if status else ''}compatible with {base}")
    return status


def main() -> int:
    """Run one command; a compiler that fails has already said why."""
    commands = {"generate": generate, "check": check, "lint": lint, "breaking": breaking}
    parser = argparse.ArgumentParser(description="Generate the stubs and check proto/.")
    parser.add_argument("command", choices=commands)
    try:
        return commands[parser.parse_args().command]()
    except subprocess.CalledProcessError as error:
        return error.returncode


if __name__ == "__main__":
    sys.exit(main())
