"""File systems of one's own on loop-mounted images, which can be cut off like by a power cut.

Needs root, loop devices, mkfs.ext4 (e2fsprogs) and mkfs.xfs (xfsprogs); says which of them is missing. Must not
know what lies on the file systems. What holds: an image's mount, its loop device and its file are taken away
when its context ends, however it ends. Mounts are seen by this process and its children alone, and loop devices
are let go of with their last descriptor, so that not even SIGKILL leaves any behind.
"""

import contextlib, ctypes, fcntl, os, pathlib, shutil, struct, subprocess, time

from tallyd import Failure

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
PACKAGES = {"losetup": "mount", "unshare": "util-linux", "mkfs.xfs": "xfsprogs"}  # the others: e2fsprogs
# What `xfs_io -x -c shutdown` calls, also on ext4, by its two flags: nothing more is written; or, with -f, the
# journal of the file system is written first, which then knows of lengths whose contents never came.
GOING_DOWN, WITHOUT_LOG, WITH_LOG = 0x8004587D, 2, 1
NEW_MOUNTS = 0x00020000
GET_GENERATION = 0x80087601


def need(*commands):
    if os.geteuid() != 0:
        raise Failure("root is needed to mount images")
    for command in commands:
        if not shutil.which(command):
            raise Failure(f"{command} is missing: apt-get install {PACKAGES.get(command, 'e2fsprogs')}")


def keep_mounts_private():
    """From here on, mounts are this process's own: nobody else's namespace holds on to them."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
        raise Failure(f"no mount namespace can be had: {os.strerror(ctypes.get_errno())}")
    run("mount", "--make-rprivate", "/")


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Image:
    """A file system in a sparse file `here/NAME.img`, mounted at `at`."""

    def __init__(self, here, kind, size_bytes=320 << 20, make_flags=()):
        self.kind, self.file, self.at = kind, pathlib.Path(here, f"{kind}.img"), pathlib.Path(here, kind)
        self.size_bytes, self.make_flags, self.loop, self.is_mounted = size_bytes, make_flags, None, False
        self.device = None

    def __enter__(self):
        try:
            self.at.mkdir()
            with open(self.file, "wb") as file:
                file.truncate(self.size_bytes)
            run(*MAKE[self.kind], *self.make_flags, self.file)
            self.loop = run("losetup", "--find", "--show", self.file)
            # Our descriptor is what keeps the device from now on.
            self.device = os.open(self.loop, os.O_RDONLY | os.O_CLOEXEC)
            run("losetup", "--detach", self.loop)
            self.mount()
            return self
        except BaseException:
            self.__exit__()
            raise

    def mount(self):
        run("mount", "-t", self.kind, self.loop, self.at)
        self.is_mounted = True

    def unmount(self):
        """Takes the mount away, and waits until the kernel has let go of the device."""
        self.retried("umount", self.at)
        self.is_mounted = False
        held = pathlib.Path("/sys/fs", self.kind, pathlib.Path(self.loop).name)
        until = time.monotonic() + 5
        while held.exists():
            if time.monotonic() > until:
                raise Failure(f"{self.loop} is still mounted somewhere")
            time.sleep(0.001)

    def cut(self, flag):
        """The power fails: nothing more reaches the image, whoever goes on writing."""
        here = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(here, GOING_DOWN, struct.pack("I", flag))
        finally:
            os.close(here)

    @staticmethod
    def retried(*command):
        """What is let go of a moment after a process has ended can be busy until then."""
        for _ in range(50):
            with contextlib.suppress(Failure):
                return run(*command)
            time.sleep(0.02)
        return run(*command)

    def __exit__(self, *_):
        if self.is_mounted:
            # Whatever still uses it, it goes when that ends.
            run("umount", "--lazy", self.at)
        if self.device is not None:
            os.close(self.device)
        self.file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.at.rmdir()


def generation(path):
    """What tells one file from a later one with the same inode number; renaming does not change it."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(file).st_ino, struct.unpack("l", fcntl.ioctl(file, GET_GENERATION, bytes(8)))[0]
    finally:
        os.close(file)
