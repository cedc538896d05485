"""A virtual environment for each peer, made when it is first asked for: target/compare/NAME."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from rig import ROOT

PEERS = ROOT / "loadtest/peers"
MADE = ROOT / "target/compare"
# PyTriton brings an interpreter but not its library, and can't read one of a later patch (3.11.7's asks for
# what its 3.11 has not): the distribution's fits.
BASES = {"pytriton": Path("/usr/bin/python3")}


def python(name: str) -> Path:
    """The interpreter that has what peers/NAME.txt pins."""
    wanted, venv, done = PEERS / f"{name}.txt", MADE / name, MADE / f"{name}.done"
    sum = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not done.exists() or done.read_text().strip() != sum:
        print(f"making {venv.relative_to(ROOT)} of {wanted.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        base = BASES.get(name, Path(sys.executable))
        subprocess.run([base if base.exists() else sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", wanted], check=True)
        done.write_text(sum + "\n")
    return venv / "bin/python"


def pins(name: str) -> list[str]:
    """What peers/NAME.txt pins."""
    return (PEERS / f"{name}.txt").read_text().split()


def site_packages(name: str) -> Path:
    """Where a peer's packages are."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return Path(subprocess.check_output([python(name), "-c", code], text=True).strip())


def onnxruntime(name: str) -> Path:
    """The library within a peer's onnxruntime, so that Ocelli can compute with the very same."""
    return next((site_packages(name) / "onnxruntime/capi").glob("libonnxruntime.so*"))
