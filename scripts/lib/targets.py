"""Builds of tallyd for other targets than the host's, the fully static one among them.

Owns where a target's standard library comes from: it is there, or rustup can add it, or it is built from
source where rustup has rust-src. Must not know what a build is for. Invariant: what cannot be had is a `Failure` with
the reason, and never another build in its place.
"""

import json, os, pathlib, shutil, subprocess

from tallyd import ROOT, Failure

RUSTUP_S = 300  # until a download is given up


def said(*command, env=None):
    """Runs a command in the tree; what it printed. A failure bears the end of what it complained of."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ | (env or {}))
    if done.returncode:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip()[-600:]}")
    return done.stdout


def library(target):
    """Where the standard library of a target is, whether or not it is there."""
    return pathlib.Path(said("rustc", "--print", "target-libdir", "--target", target).strip())


def add(kind, name):
    """Has rustup add a target or a component; why not, or nothing when it has."""
    if not shutil.which("rustup"):
        return "there is no rustup"
    try:
        done = subprocess.run(["rustup", kind, "add", name], cwd=ROOT, capture_output=True, text=True, timeout=RUSTUP_S)
    except subprocess.TimeoutExpired:
        return f"rustup {kind} add {name} takes over {RUSTUP_S} s"
    lines = done.stderr.strip().splitlines() or ["no word from rustup"]
    cause = next((line.strip() for line in reversed(lines) if "status code" in line or "error" in line), lines[-1])
    return f"rustup {kind} add {name}: {cause}" if done.returncode else None


def has_library(target):
    return any(library(target).glob("libstd-*.rlib"))


def missing(target):
    """Why a target's standard library cannot be had ready made; nothing when it is there now."""
    return None if has_library(target) else add("target", target)


def missing_source():
    """The same of the library's source, from which it is built for targets that nobody ships."""
    sysroot = pathlib.Path(said("rustc", "--print", "sysroot").strip())
    there = (sysroot / "lib/rustlib/src/rust/library/std/Cargo.toml").exists()
    return None if there else add("component", "rust-src")


def build(target, *words, env=None, from_source=False):
    """A build of tallyd for a target: its path. `words` go to cargo, such as --release."""
    flags = ["-Zbuild-std"] if from_source else []
    env = (env or {}) | ({"RUSTC_BOOTSTRAP": "1"} if from_source else {})
    said("cargo", "build", "--quiet", "--target", target, "--bin", "tallyd", *flags, *words, env=env)
    metadata = json.loads(said("cargo", "metadata", "--no-deps", "--format-version", "1"))
    return pathlib.Path(metadata["target_directory"], target, "release" if "--release" in words else "debug", "tallyd")


def build_static():
    """A fully static release build, and what of: musl where its standard library can be had, else glibc."""
    machine = os.uname().machine
    why = missing(f"{machine}-unknown-linux-musl")
    if why is None:
        return build(f"{machine}-unknown-linux-musl", "--release"), "musl"
    flags = {"RUSTFLAGS": "-C target-feature=+crt-static"}
    return build(f"{machine}-unknown-linux-gnu", "--release", env=flags), f"glibc, since {why}"
