#!/usr/bin/env python3
"""What this host allows: whether a check can be made here at all.

usage: scripts/lib/host.py apart|boot|cgroup|quota|loop|ptrace|time|trace

Tries it, leaves nothing behind, and says on standard error why not. For scripts/check, which must not call
a machine broken that merely forbids mounts. Exit status: 0 allowed, 1 not.
"""

import os, pathlib, subprocess, sys, tempfile

sys.dont_write_bytecode = True
PATIENCE_S = 60


def run(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise OSError(f"{' '.join(command[:4])} ...: {said[-1] if said else done.returncode}")


def apart():
    """Processes, mounts and a network of one's own."""
    from apart import command

    run(*command(), "true")


def boot():
    """A Debian of one's own with systemd as its first process."""
    if os.geteuid() != 0:
        raise OSError("root is needed")
    apart()
    there = "mount -t tmpfs t /mnt && mkdir /mnt/up /mnt/work /mnt/root"
    overlay = "mount -t overlay o -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root"
    run("unshare", "--mount", "--cgroup", "sh", "-c", f"{there} && {overlay}")
    groups = pathlib.Path("/sys/fs/cgroup")
    groups = groups if (groups / "cgroup.controllers").exists() else groups / "systemd"
    group = groups / f"tallyd-host-{os.getpid()}"
    group.mkdir()
    group.rmdir()


def cgroup():
    """A memory cgroup of one's own."""
    from cgroup import MemoryGroup

    with MemoryGroup(16 << 20):
        pass


def quota():
    """The same, with a twentieth of a processor."""
    from cgroup import MemoryGroup

    with MemoryGroup(16 << 20, 0.05):
        pass


def loop():
    """A file system in an image, mounted."""
    with tempfile.TemporaryDirectory() as here:
        image, place = pathlib.Path(here, "image"), pathlib.Path(here, "place")
        place.mkdir()
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        run("mkfs.ext4", "-q", str(image))
        run("unshare", "--mount", "mount", "-o", "loop", str(image), str(place))


def ptrace():
    """A process traced by strace."""
    run("strace", "-f", "-o", "/dev/null", "true")


def time():
    """A boot clock of one's own."""
    run("unshare", "--user", "--map-root-user", "--mount", "--time", "--boottime", "7", "--fork", "true")


def trace():
    """The kernel's trace of system calls."""
    if os.geteuid() != 0:
        raise OSError("root is needed")
    there = "test -d /sys/kernel/tracing/events/syscalls"
    run("unshare", "--mount", "sh", "-c", f"{there} || {{ mount -t tracefs t /sys/kernel/tracing && {there}; }}")


if __name__ == "__main__":
    probes = {probe.__name__: probe for probe in (apart, boot, cgroup, quota, loop, ptrace, time, trace)}
    if len(sys.argv) != 2 or sys.argv[1] not in probes:
        sys.exit(f"host: one of {', '.join(probes)} is needed")
    try:
        probes[sys.argv[1]]()
    except Exception as cause:  # Whatever it is, it cannot be done here.
        sys.exit(f"host: {sys.argv[1]}: {cause}")
