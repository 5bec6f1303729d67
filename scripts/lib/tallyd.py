"""A tallyd of one's own, what /proc says of it, and raw clients; for scripts/evidence and scripts/abuse.

Every server runs in a directory of its own on a free port of the loopback, with a window that nothing
leaves, and is ended by its process id. Nothing here waits without a bound.
"""

import contextlib, json, os, pathlib, re, select, shutil, signal, socket, struct, subprocess, tempfile, time

import terminal  # Makes every script's output safe to print.

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
START_S, STOP_S, ANSWER_S = 10, 10, 1  # bounds on every wait
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Failure(Exception):
    """Nothing can be measured; the text says why."""


def build():
    """Where the release build is."""
    cargo = lambda *words: subprocess.run(["cargo", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    cargo("build", "--release", "--quiet")
    metadata = json.loads(cargo("metadata", "--no-deps", "--format-version", "1").stdout)
    return pathlib.Path(metadata["target_directory"], "release", "tallyd")


class Tallyd:
    """A running server. As a context manager it is ended and its directory removed.

    Any flag may be given; without them it is on a free port, with a window that nothing leaves and no operator.
    With `here`, a directory of the caller's, it finds what an earlier one left there, and leaves it there.
    """

    is_guest = False  # Whether its directory is somebody else's.

    def __init__(self, binary, front, *flags, preexec=None, here=None, window="1h"):
        self.is_guest = here is not None
        self.here = here or pathlib.Path(tempfile.mkdtemp(prefix="tallyd-"))
        defaults = {"--listen": "127.0.0.1:0", "--data": self.here / "data", "--window": window, "--operator": "none"}
        command = [binary, "--front", front, *flags]
        for flag, value in defaults.items():
            command += [] if flag in flags else [flag, value]
        with open(self.here / "log", "w") as log:
            pipes = {"stdout": subprocess.PIPE, "stderr": log, "text": True}
            self.process = subprocess.Popen([str(word) for word in command], preexec_fn=preexec, **pipes)
        heard = select.select([self.process.stdout], [], [], START_S)[0]
        line = self.process.stdout.readline() if heard else ""
        found = re.match(r"listening on [\d.]+:(\d+)(?:, operator on [\d.]+:(\d+))?", line)
        if not found:
            said = self.log()
            self.stop()
            raise Failure(f"tallyd does not start: {said}")
        self.operator_port = int(found[2]) if found[2] else None
        self.port, self.pid, self.questions, self.doubts = int(found[1]), self.process.pid, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, patience_s=STOP_S):
        """Ends it by TERM; its exit status, or nothing if it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            self.process.stdout.close()
            if not self.is_guest:
                shutil.rmtree(self.here, ignore_errors=True)

    def log(self):
        return (self.here / "log").read_text(errors="replace").strip()

    def is_alive(self):
        return self.process.poll() is None

    def end(self):
        """How it ended, for people."""
        status = self.process.poll()
        if status is None:
            return "alive"
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def field(self, name):
        """A number of /proc/PID/status; 0 when the process is gone."""
        found = re.search(rf"^{name}:\s+(\d+)", read(f"/proc/{self.pid}/status"), re.M)
        return int(found[1]) if found else 0

    def threads(self):
        return self.field("Threads")

    def resident_mib(self):
        return self.field("VmRSS") / 1024

    def peak_mib(self):
        return self.field("VmHWM") / 1024

    def descriptors(self):
        """Numbers of all descriptors, and of the sockets among them."""
        names = []
        with contextlib.suppress(OSError):
            here = f"/proc/{self.pid}/fd"
            for name in os.listdir(here):
                with contextlib.suppress(OSError):
                    names.append(os.readlink(f"{here}/{name}"))
        return len(names), sum(name.startswith("socket:") for name in names)

    def held(self):
        """What has to be as before when an attack is over: threads, descriptors, sockets."""
        return (self.threads(), *self.descriptors())

    def base(self):
        """The same once it is at rest, with a hit behind it and its files open."""
        self.ask()
        last = None
        while last != (last := self.held()):
            time.sleep(0.05)
        return last

    def cpu_s(self):
        return cpu_s(self.pid)

    def ask(self, timeout_s=ANSWER_S):
        """One more hit on a connection of its own: its tally, or nothing if none came in time."""
        with contextlib.suppress(OSError), self.connect(timeout_s) as client:
            client.sendall(LAST_GET)
            reply = read_reply(client, timeout_s)
            if reply and reply[0] == 200:
                self.questions += 1
                return int(reply[1])
        self.doubts += 1
        return None

    def connect(self, timeout_s=ANSWER_S, receive_bytes=None, port=None):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            client.settimeout(timeout_s)
            if receive_bytes:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            client.connect(("127.0.0.1", port or self.port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            client.close()
            raise
        return client

    def counted(self, patience_s=5):
        """How many hits were counted, those of `ask` aside, once no more come in.

        Nothing if that is not known: what `ask` was not answered may have been counted or not.
        """
        last, until = None, time.monotonic() + patience_s
        while time.monotonic() < until and self.is_alive():
            tally = self.ask()
            if tally is None or self.doubts:
                return None
            if last is not None and tally == last + 1:
                return tally - self.questions
            last = tally
            time.sleep(0.1)
        return None


def cpu_s(pid):
    """CPU time of all threads of a process, by the scheduler's own nanoseconds."""
    ran = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            ran += int((read(f"/proc/{pid}/task/{task}/schedstat").split() or ["0"])[0])
    return ran / 1e9


def read(path):
    """What a file of /proc says; nothing when its process is gone."""
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def before_stop(log):
    """The lines of a log without its last one, if that reports a clean stop."""
    before, _, last = log.rpartition("\n")
    return before if " info: stopped: counted " in last else log


def split_reply(received):
    """Takes a complete reply with a length off `received`: status, body, rest; or nothing."""
    head, mark, rest = received.partition(b"\r\n\r\n")
    if not mark:
        return None
    status = int(head[9:12])
    length = re.search(rb"^content-length:\s*(\d+)", head, re.M | re.I)
    length = int(length[1]) if length else 0
    return (status, rest[:length], rest[length:]) if len(rest) >= length else None


def read_reply(client, timeout_s=ANSWER_S):
    """The next reply that is no 100: status and body; nothing if the connection ends, breaks or is silent."""
    received, until = b"", time.monotonic() + timeout_s
    with contextlib.suppress(OSError):
        while (left_s := until - time.monotonic()) > 0:
            client.settimeout(left_s)
            more = client.recv(65536)
            received += more
            while reply := split_reply(received):
                if reply[0] != 100:
                    return reply[:2]
                received = reply[2]
            if not more:
                return None
    return None


def statuses(received):
    """The statuses of all replies whose head is in what a client has received; no body has such a line."""
    return [int(code) for code in re.findall(rb"^HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n", received, re.M)]


def drain(client, wait_s=0.0):
    """What arrives until the connection ends or the time is over, and whether it has ended."""
    received, until = bytearray(), time.monotonic() + wait_s
    try:
        while True:
            client.settimeout(max(until - time.monotonic(), 0))
            more = client.recv(1 << 18)
            if not more:
                return bytes(received), True
            received += more
    except (BlockingIOError, TimeoutError):
        return bytes(received), False
    except OSError:
        return bytes(received), True


def reset(client):
    """Closes a connection by RST and not by FIN."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def wait_until(true, patience_s, period_s=0.05):
    """Seconds until `true()` held; nothing if it did not in time."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > patience_s:
            return None
        time.sleep(period_s)
    return time.monotonic() - began
