"""A tallyd whose directory outlives it: for scripts that end servers and start them again.

Owns the start of one life and its end by any signal; the directory is the caller's. Must not know what is
counted. Invariant: only the process started here is ever signalled, by its id.
"""

import pathlib, re, select, signal, subprocess, sys, tempfile

sys.dont_write_bytecode = True
from tallyd import START_S, STOP_S, Failure, Tallyd, before_stop, read, wait_until

LINE = re.compile(
    r"listening on [\d.]+:(\d+), data in .*, recovered (\d+) hits? \((\d+) in the last [^,)]+(, estimated)?\)"
    r"(?:, trimmed (\d+) torn bytes?)?, in ([\d.]+) ms"
)


class Life(Tallyd):
    """From a start to an end. `before` is what the command is run by, such as unshare or env."""

    def __init__(self, binary, data, *flags, before=(), port=0):
        self.here = pathlib.Path(tempfile.mkdtemp(prefix="tallyd-life-"))
        self.questions, self.doubts, self.said = 0, 0, None
        command = [*before, binary, "--listen", f"127.0.0.1:{port}", "--operator", "none", "--data", data, *flags]
        with open(self.here / "log", "w") as log:
            pipes = {"stdout": subprocess.PIPE, "stderr": log, "text": True}
            self.process = subprocess.Popen([str(word) for word in command], **pipes)
        self.pid = self.process.pid
        heard = select.select([self.process.stdout], [], [], START_S)[0]
        self.line = self.process.stdout.readline().strip() if heard else ""
        found = LINE.match(self.line)
        if not found:
            said = self.log()
            self.finish(signal.SIGKILL)
            raise Failure(f"tallyd does not start: {self.line} {said}")
        self.port, self.recovered, self.in_window = int(found[1]), int(found[2]), int(found[3])
        self.is_estimated, self.trimmed_bytes, self.start_ms = bool(found[4]), int(found[5] or 0), float(found[6])

    def log(self):
        """What it has said on standard error; also when it is over."""
        return super().log() if self.said is None else self.said

    def finish(self, by):
        """Ends this life by a signal; its exit status, or the negative signal."""
        if self.said is not None:
            return self.process.returncode
        self.process.send_signal(by)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said = before_stop(super().log())
        self.stop()
        return self.process.returncode

    def pause(self):
        """Stops it as a suspend would; returns when no thread runs any more."""
        self.process.send_signal(signal.SIGSTOP)
        if wait_until(lambda: self.states() == {"T"}, 5, 0.001) is None:
            raise Failure(f"SIGSTOP does not stop it: {self.states()}")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def states(self):
        """What its threads are at."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").glob("*/status")
        return set(re.findall(r"^State:\s+(\w)", "".join(read(task) for task in tasks), re.M))
