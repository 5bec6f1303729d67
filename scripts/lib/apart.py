"""A place apart: a network, processes and mounts of one's own, for what must not meet anybody else's.

For the scripts that run what people are told to run: the ports they name are free there, whatever is mounted is
seen by nobody, and every process that is left ends with the first. Needs unshare (util-linux), and root or user
namespaces; says so where they cannot be had. Must not know what is run.
"""

import fcntl, os, pathlib, shutil, socket, struct, subprocess, sys, tempfile

from tallyd import Failure

MARK = "TALLYD_APART"
INTERFACE_UP, SET_FLAGS = 1, 0x8914


def is_here():
    return MARK in os.environ


def command():
    """What is put before a command that is to run in one."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


def go():
    """Goes on in a place apart: this very program is run again there, and ends here with its status.

    Gives it a directory, which is removed once it has ended, from where none of its mounts is seen.
    """
    if here := os.environ.pop(MARK, None):
        loopback_up()
        return pathlib.Path(here)
    if not shutil.which("unshare"):
        raise Failure("unshare is missing: apt-get install util-linux")
    words = command()
    probe = subprocess.run([*words, "true"], capture_output=True, text=True)
    if probe.returncode:
        raise Failure(f"this host allows no place apart: {probe.stderr.strip()}")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="tallyd-apart-") as here:
        status = subprocess.run([*words, *sys.orig_argv], env={**os.environ, MARK: here}).returncode
    sys.exit(status)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, SET_FLAGS, struct.pack("16sh14x", b"lo", INTERFACE_UP))


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"mount {' '.join(map(str, words))}: {done.stderr.strip()}")


def copy_of_tree(root, to):
    """Every file that git has or would take, as it lies there, with its times, so that cargo finds nothing changed."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            stdout=subprocess.PIPE, check=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source, target = pathlib.Path(root, name), pathlib.Path(to, name)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
