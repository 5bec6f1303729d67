"""A control group of one's own for a child process, whichever version of cgroups the machine has.

For scripts that need a small memory, or little of a processor. Must not know who lives in it. Invariant: the
group is taken away again, which is possible once its processes have ended.
"""

import contextlib, os, pathlib, re, time
from tallyd import Failure


PERIOD_US = 100_000  # within which a share of a processor is used up


class MemoryGroup:
    """At most `limit_bytes` of memory, no swap; with `cpu_share`, so much of one processor and no more.

    `join` is for a child, between fork and exec.
    """

    def __init__(self, limit_bytes, cpu_share=None):
        name, self.places = f"tallyd-{os.getpid()}-{time.monotonic_ns()}", []
        try:
            self.here, self.version = self.make("memory", name)
            (self.here / self.name("memory.limit_in_bytes", "memory.max")).write_text(str(limit_bytes))
            if cpu_share is not None:
                # Version 1 has a tree for each controller, version 2 one for all.
                self.cpu, version = self.make("cpu", name)
                quota_us = round(cpu_share * PERIOD_US)
                if version == 1:
                    (self.cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                    (self.cpu / "cpu.cfs_quota_us").write_text(str(quota_us))
                else:
                    (self.cpu / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        except (OSError, Failure) as cause:
            self.remove()
            raise Failure(f"no such cgroup can be made here: {cause}") from cause
        with contextlib.suppress(OSError):
            (self.here / self.name("memory.swappiness", "memory.swap.max")).write_text("0")

    def make(self, controller, name):
        parent, version = parent_of(controller)
        place = parent / name
        if place not in self.places:
            place.mkdir()
            self.places.append(place)
        return place, version

    def name(self, first, second):
        return first if self.version == 1 else second

    @property
    def before(self):
        """The words to be put before a command that is to run in it."""
        joins = [("sh", "-c", 'echo $$ > "$0" && exec "$@"', place / "cgroup.procs") for place in self.places]
        return tuple(word for join in joins for word in join)

    def join(self):
        for place in self.places:
            (place / "cgroup.procs").write_text(str(os.getpid()))

    def cached_mib(self):
        """Pages of files, the journal's among them, that its processes have read or written."""
        found = re.search(rf"^{self.name('cache', 'file')} (\d+)", (self.here / "memory.stat").read_text(), re.M)
        return int(found[1]) / 2**20

    def held_back(self):
        """Periods in which it had work, and in how many of them its share of the processor was used up."""
        said = dict(line.split() for line in (self.cpu / "cpu.stat").read_text().splitlines())
        return int(said["nr_periods"]), int(said["nr_throttled"])

    def peak_mib(self):
        path = self.here / self.name("memory.max_usage_in_bytes", "memory.peak")
        return int(path.read_text()) / 2**20 if path.exists() else 0

    def kill_count(self):
        """Processes that were killed for want of memory."""
        lines = (self.here / self.name("memory.oom_control", "memory.events")).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self):
        for place in self.places:
            for _attempt in range(50):
                with contextlib.suppress(OSError):
                    place.rmdir()
                if not place.exists():
                    break
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def parent_of(controller):
    """Where groups with a controller are made, and which version."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and controller in options.split(","):
            return pathlib.Path(where), 1
        controllers = pathlib.Path(where, "cgroup.subtree_control")
        if kind == "cgroup2" and controller in pathlib.Path(where, "cgroup.controllers").read_text().split():
            if controller not in controllers.read_text().split():
                controllers.write_text(f"+{controller}")
            return pathlib.Path(where), 2
    raise Failure(f"no cgroup with the controller {controller} is mounted here")
