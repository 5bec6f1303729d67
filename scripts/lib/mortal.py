"""One life of tallyd after another on the same directory, and what lies in that directory between them.

`Life` starts a server, reads its line and ends it by a signal to its process id. The reader of segments is
independent of the server's: it knows the byte table of `src/journal/record.rs` and nothing else.

Must not know why a life ends. What holds: nothing here writes to the directory.
"""

import binascii, os, pathlib, re, select, signal, struct, subprocess

from load import now_ns
from tallyd import START_S, STOP_S, Failure, before_stop

HEADER, RECORD = 64, 8
LINE = re.compile(
    r"listening on [\d.]+:(\d+), data in .*, recovered (\d+) hits? "
    r"\((\d+) in the last [^,)]*(, estimated)?\)(?:, trimmed (\d+) torn bytes?)?"
)


class Life:
    """A server from its start to its end. `line()` waits until it serves."""

    def __init__(self, binary, data, log, *flags, before=()):
        command = [*before, binary, "--listen", "127.0.0.1:0", "--operator", "none", "--data", data, *flags]
        self.began_ns, self.log, self.data = now_ns(), pathlib.Path(log), pathlib.Path(data)
        with open(log, "w") as file:
            pipes = {"stdout": subprocess.PIPE, "stderr": file, "stdin": subprocess.DEVNULL}
            self.process = subprocess.Popen([str(word) for word in command], **pipes)
        self.pid = self.process.pid

    def line(self):
        """What it says once it serves: sets `port`, `recovered`, `tally`, `is_estimated`, `trimmed`."""
        heard = select.select([self.process.stdout], [], [], START_S)[0]
        said = self.process.stdout.readline().decode() if heard else ""
        found = LINE.match(said)
        if not found:
            self.kill()
            raise Failure(f"tallyd does not start: {said}{self.said()}")
        self.lined_ns = now_ns()
        self.port, self.recovered, self.tally = (int(found[index]) for index in (1, 2, 3))
        self.is_estimated, self.trimmed = bool(found[4]), int(found[5] or 0)

    def said(self):
        """Its lines on standard error, without the one that reports a clean stop."""
        return before_stop(self.log.read_text(errors="replace").strip())

    def kill(self, number=signal.SIGKILL):
        """Sends a signal and waits for the end; how it ended."""
        if self.process.poll() is None:
            os.kill(self.pid, number)
        return self.wait()

    def wait(self):
        """How it ended, as `subprocess` has it; nobody hangs."""
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure("tallyd did not end") from None
        finally:
            self.process.stdout.close()

    def base(self):
        """The lifetime count before this life's first hit, which must have been answered: the sequence
        number that the newest header bears. Nothing if there is no sound header, as there must be."""
        newest = max(names(self.data), default=None)
        segment = newest and Segment(self.data / newest)
        return segment.sequence if segment and segment.is_sound else None


def names(directory):
    return [name for name in os.listdir(directory) if re.fullmatch(r"[0-9a-f]{16}\.seg", name)]


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC32C = list(crc32c_table())


def crc32c(data):
    check = 0xFFFFFFFF
    for byte in data:
        check = check >> 8 ^ CRC32C[(check ^ byte) & 0xFF]
    return check ^ 0xFFFFFFFF


class Segment:
    """The bytes of one file: whether its header is sound and of its own number, and how far its records reach."""

    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        self.number = int(pathlib.Path(path).name[:16], 16)
        head = self.data[:HEADER].ljust(HEADER, b"\0")
        magic, number, self.sequence, _, _, _, _, check = struct.unpack(">8sQQQq16sII", head)
        self.is_sound = magic == b"tallyd\0\1" and number == self.number and check == crc32c(head[:60])
        self.is_blank = not any(head)

    def validity(self):
        """For each whole slot, whether it holds a record of this segment, in order of time."""
        key, latest, valid = self.number & 0xFFFF, 0, bytearray()
        for at in range(HEADER, len(self.data) - RECORD + 1, RECORD):
            slot = self.data[at : at + RECORD]
            offset = int.from_bytes(slot[:6], "big")
            good = offset >= max(latest, 1) and binascii.crc_hqx(slot[:6], key) == slot[6] << 8 | slot[7]
            latest = offset if good else latest
            valid.append(good)
        return valid

    def tail(self, valid):
        """What lies behind the last record: nothing, zeros, a stale tail of a recycled file, or both."""
        behind = self.data[HEADER + RECORD * (valid.rfind(1) + 1) :]
        if not behind:
            return "none"
        return "stale" if any(behind[:RECORD]) else "zeros" if not any(behind) else "mixed"
