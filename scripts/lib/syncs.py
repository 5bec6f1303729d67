"""The syncs that a tallyd makes, as the kernel's trace (tracefs) tells them, and what they cover.

Needs root and tracefs. Must not know what was answered. What holds: nothing of the server is changed or held up
for it, and the trace is taken away when its context ends.
"""

import contextlib, os, pathlib, re, time

from mounts import run
from tallyd import Failure

TRACE = pathlib.Path("/sys/kernel/tracing")
CALL = re.compile(
    r"-(\d+) +\[\d+\] \S+ +(\d+)\.(\d+): sys_(fdatasync|fsync|pwrite64)(?:\(fd: (\w+)| -> (0x[0-9a-f]+))"
)
# Syncs that lie no further apart belong to one job.
JOB_GAP_NS = 5 * 10**6
# By how much the clock of the trace may differ from the one that programs read.
CLOCKS_NS = 10**5


class Job:
    """Syncs that followed each other at once: when the first began and the last ended, if it has; whether all
    went well; and the newest segment among them, counted in the order in which segments were begun."""

    def __init__(self, began_ns):
        self.began_ns, self.ended_ns, self.is_well, self.newest = began_ns, None, True, -1


class Syncs:
    """What a tallyd's threads tell the kernel: its sync thread's syncs, and the first write to each segment,
    the one at position 0, which its funnel makes. In nanoseconds of boot time."""

    def __enter__(self):
        if not (TRACE / "instances").exists():
            with contextlib.suppress(Failure):
                run("mount", "-t", "tracefs", "tracefs", TRACE)
        self.here = TRACE / "instances" / f"tallyd-{os.getpid()}"
        try:
            self.here.mkdir()
            (self.here / "trace_clock").write_text("boot")
            events = self.here / "events/syscalls"
            (events / "sys_enter_pwrite64/filter").write_text("pos == 0")
            for event in ("enter_pwrite64", "enter_fdatasync", "exit_fdatasync", "enter_fsync", "exit_fsync"):
                (events / f"sys_{event}/enable").write_text("1")
        except OSError as cause:
            self.__exit__()
            raise Failure(f"syncs cannot be traced: {cause}; --untraced does without") from None
        return self

    def clear(self):
        """From now on: before the process starts, so that none of its syncs is missed."""
        (self.here / "trace").write_text("")

    def watch(self, pid):
        """Only of this process. Everybody's calls are traced, since its threads are not known before they run."""
        self.tasks, until = {}, time.monotonic() + 5
        while not {"sync", "funnel"} <= self.tasks.keys():
            # A thread names itself, at its first steps.
            self.tasks = {self.name(pid, task): task for task in os.listdir(f"/proc/{pid}/task")}
            if time.monotonic() > until:
                raise Failure("tallyd has no threads called sync and funnel")
        self.thread = pathlib.Path(f"/proc/{pid}/task/{self.tasks['sync']}")

    def waited(self):
        """How long the sync thread has waited for a processor, in nanoseconds, and whether it does so now, the
        kernel not saying for how long."""
        with contextlib.suppress(OSError):
            state = (self.thread / "stat").read_text().rpartition(") ")[2][0]
            return int((self.thread / "schedstat").read_text().split()[1]), state == "R"
        return 0, False

    @staticmethod
    def name(pid, task):
        # Some threads end right after the start.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return pathlib.Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()
        return ""

    def told(self):
        """All jobs in their order, when each segment was begun, and when each sync that went well ended."""
        began, jobs, segments, begun_ns, well_ns = None, [], {}, [], []
        tasks = {self.tasks["sync"], self.tasks["funnel"]}
        for found in CALL.finditer((self.here / "trace").read_text()):
            task, second, fraction, call, file, result = found.groups()
            at_ns = int(second) * 10**9 + int(fraction.ljust(9, "0"))
            if task not in tasks:
                continue
            if call == "pwrite64":
                segments[file] = len(begun_ns)
                begun_ns.append(at_ns)
            elif file:
                began = at_ns
                last_ns = jobs[-1].ended_ns if jobs else 0
                if not jobs or last_ns and began - last_ns > JOB_GAP_NS:
                    jobs.append(Job(began))
                jobs[-1].ended_ns = None
                if call == "fdatasync":
                    jobs[-1].newest = max(jobs[-1].newest, segments.get(file, -1))
            elif began is not None:
                is_well = int(result, 16) == 0
                jobs[-1].ended_ns = at_ns
                jobs[-1].is_well &= is_well
                well_ns += [at_ns] if is_well else []
        return jobs, begun_ns, well_ns

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.here.rmdir()


class Told:
    """What was told of a life up to the instant of its power cut."""

    def __init__(self, syncs, cut_ns):
        jobs, self.begun_ns, self.well_ns = syncs.told()
        self.jobs, self.cut_ns = [job for job in jobs if job.began_ns < cut_ns], cut_ns
        # A job whose last call has just ended may not have been done with all of its files.
        ended = lambda job: job.ended_ns and job.ended_ns + JOB_GAP_NS < cut_ns
        self.done = [job for job in self.jobs if job.is_well and ended(job)]

    def covered_ns(self):
        """Every hit that was answered before then is on the device; 0 if none is known to be.

        What a job covers is settled a moment before its first sync begins, so a segment begun in that moment
        is not among its files: what was answered before the first write to it is covered.
        """
        if not self.done or self.done[-1].newest < 0:
            return 0
        later_ns = self.begun_ns[self.done[-1].newest + 1 :]
        return min(later_ns[:1] + [self.done[-1].began_ns]) - CLOCKS_NS

    def claims(self):
        """Whether a sync that was under way at the cut was called a success."""
        return any(at_ns > self.cut_ns for at_ns in self.well_ns)

    def longest_ns(self):
        """How long the longest job took, up to the cut."""
        return max((min(job.ended_ns or self.cut_ns, self.cut_ns) - job.began_ns for job in self.jobs), default=0)
