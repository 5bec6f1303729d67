"""A control group of one's own for a child process, whichever version of cgroups the machine has.

For scripts that need a small memory. Must not know who lives in it. Invariant: the group is taken away again,
which is possible once its processes have ended.
"""

import contextlib, os, pathlib, time
from tallyd import Failure


class MemoryGroup:
    """At most `limit_bytes` of memory, no swap. `join` is for a child, between fork and exec."""

    def __init__(self, limit_bytes):
        self.here = None
        try:
            parent, self.version = memory_parent()
            self.here = parent / f"tallyd-{os.getpid()}-{time.monotonic_ns()}"
            self.here.mkdir()
            (self.here / self.name("memory.limit_in_bytes", "memory.max")).write_text(str(limit_bytes))
        except OSError as cause:
            self.remove()
            raise Failure(f"no memory cgroup can be made here: {cause}") from cause
        with contextlib.suppress(OSError):
            (self.here / self.name("memory.swappiness", "memory.swap.max")).write_text("0")

    def name(self, first, second):
        return first if self.version == 1 else second

    @property
    def before(self):
        """The words to be put before a command that is to run in it."""
        return ("sh", "-c", 'echo $$ > "$0" && exec "$@"', self.here / "cgroup.procs")

    def join(self):
        (self.here / "cgroup.procs").write_text(str(os.getpid()))

    def peak_mib(self):
        path = self.here / self.name("memory.max_usage_in_bytes", "memory.peak")
        return int(path.read_text()) / 2**20 if path.exists() else 0

    def kill_count(self):
        """Processes that were killed for want of memory."""
        lines = (self.here / self.name("memory.oom_control", "memory.events")).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self):
        for _attempt in range(50):
            if self.here is None or not self.here.exists():
                return
            with contextlib.suppress(OSError):
                self.here.rmdir()
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def memory_parent():
    """Where groups with a memory controller are made, and which version."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return pathlib.Path(where), 1
        controllers = pathlib.Path(where, "cgroup.subtree_control")
        if kind == "cgroup2" and "memory" in pathlib.Path(where, "cgroup.controllers").read_text().split():
            if "memory" not in controllers.read_text().split():
                controllers.write_text("+memory")
            return pathlib.Path(where), 2
    raise Failure("no memory cgroup is mounted here")
