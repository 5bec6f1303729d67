"""A directory that outlives its servers, and strace to make a server's system calls fail.

For scripts/faults and scripts/resources. A `Life` is one process on a data directory given from outside; what
the directory says of the lifetime count is read here by itself (`total`), by nothing but the format's page.
`Injection` has strace attach to a running server, and takes it away again.

Must not know what is expected. Invariant: only processes started here are ended, by their ids, and no wait is
without a bound.
"""

import contextlib, pathlib, re, select, shutil, socket, struct, subprocess
from tallyd import START_S, STOP_S, Failure, Tallyd, read, read_reply, wait_until

HEADER_BYTES, RECORD_BYTES = 64, 8


class Life(Tallyd):
    """A running server on `data`, logging to `log`, or to `data` + .log, behind what is there. Both stay."""

    def __init__(self, binary, data, *flags, log=None, prefix=(), preexec=None):
        self.data, self.logged = pathlib.Path(data), pathlib.Path(log or f"{data}.log")
        self.questions = self.doubts = self.port = self.operator_port = 0
        command = [*prefix, binary, "--listen", "127.0.0.1:0", "--operator", "127.0.0.1:0", "--data", data, *flags]
        self.log_from = self.logged.stat().st_size if self.logged.exists() else 0
        with open(self.logged, "a") as log:
            pipes = {"stdout": subprocess.PIPE, "stderr": log, "text": True}
            self.process = subprocess.Popen([str(word) for word in command], preexec_fn=preexec, **pipes)
        self.pid, self.line = self.process.pid, ""

    def start(self, patience_s=START_S):
        """Waits for the line that says it serves; whether it came."""
        if select.select([self.process.stdout], [], [], patience_s)[0]:
            self.line = self.process.stdout.readline()
        if found := re.match(r"listening on [\d.]+:(\d+), operator on [\d.]+:(\d+)", self.line):
            self.port, self.operator_port = int(found[1]), int(found[2])
        return bool(self.port)

    def started(self):
        if not self.start():
            said = self.log()
            self.kill()
            raise Failure(f"tallyd does not start: {said}")
        return self

    def recovered(self):
        """Hits that its first line says it has found."""
        found = re.search(r"recovered (\d+) hit", self.line)
        return int(found[1]) if found else None

    def log(self):
        """What it has said, those before it on the same directory aside."""
        with contextlib.suppress(OSError), open(self.logged, errors="replace") as log:
            log.seek(self.log_from)
            return log.read().strip()
        return ""

    def said(self, text):
        """How many lines of its log hold `text`."""
        return sum(text in line for line in self.log().splitlines())

    def status(self, patience_s=STOP_S):
        """How it ended by itself; nothing if it has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(patience_s)
        return None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, patience_s=STOP_S):
        self.process.terminate()
        status = self.status(patience_s)
        self.kill()
        return status

    def page(self, path, patience_s=5):
        """What the operator's listener answers: status and text; nothing if it does not."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.operator_port), patience_s) as asked:
            asked.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            if reply := read_reply(asked, patience_s):
                return reply[0], reply[1].decode().strip()
        return None, ""

    def is_ready(self):
        """What /readyz says: that hits are taken and the sync policy's promise holds. The log has to agree."""
        ready = {"refusing": True, "sync": True}
        for line in self.log().splitlines():
            if "refusing hits: " in line or "counting again" in line:
                ready["refusing"] = "counting again" in line
            elif "cannot sync " in line or "syncing again" in line:
                ready["sync"] = "syncing again" in line
        status, _text = self.page("/readyz")
        return all(ready.values()) and status == 200

    def is_unready(self):
        """That /readyz says what is wrong, and the log has begun to."""
        status, text = self.page("/readyz")
        return status == 503 and text != "" and self.said("refus") + self.said("cannot sync") > 0

    def total(self):
        """The lifetime count, as it says itself."""
        status, text = self.page("/total")
        return int(text) if status == 200 else None


def segments(data):
    """Numbers of the segments that lie there."""
    return sorted(int(path.stem, 16) for path in pathlib.Path(data).glob("*.seg"))


def total(data):
    """The lifetime count, by the newest header and the length of its file; only where nothing is torn."""
    for path in sorted(pathlib.Path(data).glob("*.seg"), reverse=True):
        header = path.read_bytes()[:HEADER_BYTES]
        if len(header) == HEADER_BYTES and header[:8] == b"tallyd\0\1":
            number, sequence = struct.unpack(">QQ", header[8:24])
            if number == int(path.stem, 16):
                return sequence + (path.stat().st_size - HEADER_BYTES) // RECORD_BYTES
    return 0


def need(command, package):
    if not shutil.which(command):
        raise Failure(f"missing: {command}; apt-get install {package}")


def is_traced(pid):
    """Whether somebody traces all threads of a process."""
    tasks = list(pathlib.Path(f"/proc/{pid}/task").glob("*/status"))
    return bool(tasks) and all(re.search(r"^TracerPid:\t[1-9]", read(task), re.M) for task in tasks)


class Injection:
    """strace on all threads of a running process: the `when`th call of `call` fails in each, as strace has it."""

    def __init__(self, server, call, fault, when, log):
        self.server, self.log = server, pathlib.Path(log)
        self.errors = pathlib.Path(f"{log}.err")
        rule = f"inject={call}:{fault}:when={when}"
        command = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", rule, "-p", str(server.pid)]
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stderr=errors)
        if wait_until(lambda: is_traced(server.pid), 5, 0.005) is None:
            self.end()
            raise Failure(f"strace does not attach: {self.errors.read_text().strip()}")

    def met(self):
        """How many calls have failed by it."""
        return read(self.log).count("(INJECTED)") + read(self.log).count("(DELAYED)")

    def end(self):
        """Lets the process go on by itself."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
