"""A Debian of one's own to install things in: what changes there is kept apart, and seen file by file.

A root is an overlay: below it this host's own root, or one that mmdebstrap has made; above it a directory in
memory that holds every file that was changed, and goes with the root. It can be entered by chroot, or booted, with
its own systemd as the first process. To be used in a place apart (apart.py), as root; needs overlayfs, and for
booting nsenter (util-linux) and systemd. Must not know what is installed. What holds: nothing of it is left on the
host, and of the host's files none is changed.
"""

import contextlib, os, pathlib, shutil, subprocess, time

from apart import mount
from tallyd import Failure, wait_until

GROUPS = pathlib.Path("/sys/fs/cgroup")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
BOOT_S, COMMAND_S = 60, 120
# What the first process of a root that is booted finds; $1 is the root, $2 how control groups are mounted.
FIRST = """set -e
cd "$1"
mount -t proc proc proc
mount -t tmpfs tmpfs sys/fs/cgroup
case $2 in
unified) mount -t cgroup2 cgroup2 sys/fs/cgroup ;;
*) mkdir sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd ;;
esac
mkdir run/host
pivot_root . run/host
umount --lazy /run/host
rmdir /run/host
container=other exec /lib/systemd/systemd --log-target=null --show-status=no systemd.unit=basic.target
"""


def bootstrapped(place, *packages, suite="bookworm"):
    """An archive of a Debian with its least packages and these, made once and kept in `place`."""
    archive = place / f"{'-'.join((suite, *packages))}.tar"
    if not archive.exists():
        if not shutil.which("mmdebstrap"):
            raise Failure("mmdebstrap is missing: apt-get install mmdebstrap")
        place.mkdir(parents=True, exist_ok=True)
        made = archive.with_suffix(".part.tar")
        run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, made], patience_s=600)
        made.rename(archive)
    return archive


def unpacked(archive, to):
    """The directory `to`, with what is in an archive."""
    to.mkdir()
    run(["tar", "--extract", "--numeric-owner", "--file", archive, "--directory", to], patience_s=300)
    return to


def run(words, patience_s=COMMAND_S, **more):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=patience_s, **more)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


class Root:
    """An overlay over `below`, a directory, in memory at `here`."""

    def __init__(self, here, below="/"):
        self.below, self.first, self.group = pathlib.Path(below), None, None
        here.mkdir()
        mount("-t", "tmpfs", "tmpfs", here)
        self.changed, self.at = here / "changed", here / "root"
        for name in ("changed", "work", "root"):
            (here / name).mkdir()
        mount("-t", "overlay", "overlay", "-o", f"lowerdir={below},upperdir={self.changed},workdir={here / 'work'}", self.at)
        mount("-t", "proc", "proc", self.at / "proc")
        mount("-t", "sysfs", "-o", "ro", "sysfs", self.at / "sys")
        for name in ("run", "tmp", "dev"):
            mount("-t", "tmpfs", "tmpfs", self.at / name)
        for device in DEVICES:
            (self.at / "dev" / device).touch()
            mount("--bind", f"/dev/{device}", self.at / "dev" / device)
        # What systemd makes the private devices of a service of.
        for name, kind in (("pts", "devpts"), ("shm", "tmpfs")):
            (self.at / "dev" / name).mkdir()
            mount("-t", kind, kind, self.at / "dev" / name)
        (self.at / "dev/ptmx").symlink_to("pts/ptmx")
        # Whoever forbids packages to start what they bring forbids it on the host, not here.
        (self.at / "usr/sbin/policy-rc.d").unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.first:
            self.first.kill()
            self.first.wait()
        if self.group:
            # Deepest first; the kernel lets go of a group a moment after its last process.
            wait_until(self._is_without_groups, 5)

    def _is_without_groups(self):
        for folder, _, _ in os.walk(self.group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not self.group.exists()

    def run(self, *words, patience_s=COMMAND_S):
        """What a command in it says; it must succeed."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        enter = ["nsenter", "-t", self.pid, "--mount", "--pid", "--root", "--wd"] if self.first else ["chroot", self.at]
        return run([*enter, *words], patience_s, env=environment)

    def boot(self):
        """Starts its systemd, and waits until that has nothing left to do."""
        unified = (GROUPS / "cgroup.controllers").exists()
        groups = GROUPS if unified else GROUPS / "systemd"
        self.group = groups / f"tallyd-root-{os.getpid()}-{time.monotonic_ns()}"
        self.group.mkdir()
        enter = f'echo $$ >{self.group}/cgroup.procs; exec "$@"'
        words = ["sh", "-c", enter, "sh", "unshare", "--cgroup", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        words += ["sh", "-c", FIRST, "sh", str(self.at), "unified" if unified else "several"]
        self.first = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        is_booting = lambda: children.read_text().strip() and (self.at / "run/systemd/system").exists()
        if wait_until(is_booting, BOOT_S) is None or self.first.poll() is not None:
            raise Failure("systemd does not start as the first process of a root")
        self.pid = children.read_text().strip()
        settled = lambda: self._state() in ("running", "degraded")
        if wait_until(settled, BOOT_S, 0.2) is None:
            raise Failure(f"systemd does not settle: {self._state()}")

    def _state(self):
        words = ["nsenter", "-t", self.pid, "--mount", "--pid", "--root", "--wd", "systemctl", "is-system-running"]
        return subprocess.run(words, capture_output=True, text=True, timeout=BOOT_S).stdout.strip()

    def changes(self):
        """Every file that differs from what lies below or is not there, and every directory that is not."""
        found = set()
        for folder, folders, names in os.walk(self.changed):
            here = pathlib.Path("/", pathlib.Path(folder).relative_to(self.changed))
            found.update(str(here / name) for name in names)
            found.update(str(here / name) for name in folders if not (self.below / here.relative_to("/") / name).exists())
        return found
