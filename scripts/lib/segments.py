"""Reads a journal of format version 1 from outside: another reader, in another language, for the scripts.

Owns nothing: it opens files for reading only, beside a running server or behind a dead one. Written from
DESIGN section 5 and not from src/journal, so that the two check each other. Must not know what a server
answered. Invariant: a record that fails its check is never taken for a hit.
"""

import binascii, collections, contextlib, pathlib, re, struct

HEADER_BYTES, RECORD_BYTES = 64, 8

Header = collections.namedtuple("Header", "number sequence base_ns wall_ns boot")


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    check = 0xFFFFFFFF
    for byte in data:
        check = check >> 8 ^ CRC32C[(check ^ byte) & 0xFF]
    return check ^ 0xFFFFFFFF


def header_in(data, number):
    """The header in the first bytes of a file; nothing if they are none, or that of another number."""
    if len(data) < HEADER_BYTES or data[:8] != b"tallyd\0\x01":
        return None
    found, sequence, base_ns, wall_ns, boot, flags, check = struct.unpack(">QQQq16sII", data[8:HEADER_BYTES])
    if found != number or flags or check != crc32c(data[:60]):
        return None
    return Header(number, sequence, base_ns, wall_ns, boot.hex())


def offsets_in(data, number):
    """Nanoseconds after the base of every record up to the last valid one; those that fail are None."""
    offsets, key, last, length = [], number & 0xFFFF, 0, 0
    for (slot,) in struct.iter_unpack("8s", data[HEADER_BYTES : len(data) - len(data) % RECORD_BYTES]):
        offset_ns = int.from_bytes(slot[:6], "big")
        if offset_ns and offset_ns >= last and binascii.crc_hqx(slot[:6], key) == slot[6] << 8 | slot[7]:
            last = offset_ns
            offsets.append(offset_ns)
            length = len(offsets)
        else:
            offsets.append(None)
    return offsets[:length]


def files(directory):
    """The segments' files by number. A server beside us may rename one meanwhile."""
    found = {}
    for path in pathlib.Path(directory).iterdir():
        if re.fullmatch(r"[0-9a-f]{16}\.seg", path.name):
            found[int(path.name[:16], 16)] = path
    return dict(sorted(found.items()))


def again_if_moved(read):
    """A server beside us may rename or remove a file between our look at the directory and at the file."""

    def guarded(*arguments):
        for _ in range(10):
            with contextlib.suppress(FileNotFoundError):
                return read(*arguments)
        return read(*arguments)

    return guarded


@again_if_moved
def headers(directory):
    """The headers of all segments that have any record, oldest first."""
    found = []
    for number, path in files(directory).items():
        with open(path, "rb") as file:
            header = header_in(file.read(HEADER_BYTES), number)
        found += [header] if header else []
    return found


@again_if_moved
def newest(directory):
    """The newest header and its records' offsets; nothing if there is none."""
    for number, path in reversed(files(directory).items()):
        data = path.read_bytes()
        if header := header_in(data, number):
            return header, offsets_in(data, number)
    return None


def total(directory):
    """Lifetime count of hits. Nobody may be writing meanwhile."""
    found = newest(directory)
    return found[0].sequence + len(found[1]) if found else 0


@again_if_moved
def stamps(directory, span_ns):
    """The stamps of the hits of the newest boot that are at most `span_ns` older than the newest, oldest
    first, on that boot's line. Nobody may be writing meanwhile.
    """
    begun = []
    for number, path in reversed(files(directory).items()):
        data = path.read_bytes()
        header = header_in(data, number)
        if not header:
            continue
        if begun and header.boot != begun[-1][0].boot:
            break
        offsets = offsets_in(data, number)
        # What lies behind the next header's sequence number was refused and cut off.
        count = begun[0][0].sequence - header.sequence if begun else len(offsets)
        begun.insert(0, (header, offsets[:count]))
        newest_ns = begun[-1][0].base_ns + (begun[-1][1] or [0])[-1]
        if header.base_ns < newest_ns - span_ns:
            break
    all_ns = [header.base_ns + offset for header, offsets in begun for offset in offsets if offset is not None]
    return [stamp for stamp in all_ns if stamp >= all_ns[-1] - span_ns] if all_ns else []
