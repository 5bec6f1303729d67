"""Mixed load for scripts/soak: one process for each kind of client, with a ledger that outlives everything.

Owns what clients do and what they know: a request is sent (noted before its first byte), then answered with
a tally, refused with a status, or in doubt for ever. Must not know what is done to the server. Invariant:
at every instant what was answered is at most what was counted, which is at most what was sent and not refused.
"""

import contextlib, multiprocessing, random, socket, struct, time

from tallyd import GET, LAST_GET, drain, split_reply, statuses

PATIENCE_S = 10  # more than any fault takes
SENT, ANSWERED, REFUSED = range(3)
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n"
BODY = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 277 + b"." * 14
assert len(BODY.partition(b"\r\n\r\n")[2]) == 5000
# What is no request, or is not all of one.
HOSTILE = [
    b"GET / HTTP/2.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 4096,
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    b"",
]


class Ledger:
    """Three numbers for each process, which only that process changes."""

    def __init__(self, kinds):
        self.numbers = multiprocessing.Array("q", 3 * kinds, lock=False)

    def sum(self, which):
        return sum(self.numbers[which::3])


class Load:
    """One process: told when to begin and for how long, it says when it has ended."""

    def __init__(self, index, kind, ledger, port, seed):
        self.index, self.kind, self.ledger, self.port = index, kind, ledger, port
        self.chance = random.Random(f"{seed} {index}")
        self.near, self.far = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()

    def begin(self, for_s):
        self.near.send(for_s)

    def has_ended(self, patience_s):
        return self.near.poll(patience_s) and self.near.recv() is None

    def stop(self):
        self.near.send(None)
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()

    def run(self):
        while (for_s := self.far.recv()) is not None:
            self.until = time.monotonic() + for_s
            self.kind(self)
            self.far.send(None)

    def goes_on(self):
        return time.monotonic() < self.until

    def note(self, which, more=1):
        self.ledger.numbers[3 * self.index + which] += more

    def connect(self, receive_bytes=None):
        """A connection, or nothing while there is no server."""
        client = socket.socket()
        try:
            client.settimeout(PATIENCE_S)
            if receive_bytes:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            client.connect(("127.0.0.1", self.port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client
        except OSError:
            client.close()
            time.sleep(0.02)
            return None

    def send(self, client, request, times=1):
        self.note(SENT, times)
        client.sendall(request * times)

    def receive(self, client, replies):
        """Takes so many replies; whether all are tallies."""
        received = b""
        while replies:
            more = client.recv(65536)
            if not more:
                return False
            received += more
            while reply := split_reply(received):
                if reply[0] != 200:
                    # Behind a refusal nothing more is taken from a connection.
                    self.note(REFUSED, replies)
                    return False
                self.note(ANSWERED)
                received, replies = reply[2], replies - 1
        return True


def kept(connections, depth, pause_s):
    """Clients that keep their connections, each with so many requests at once under way."""

    def kind(load):
        clients = [None] * connections
        while load.goes_on():
            for turn in (begin, finish):
                clients = [turn(load, client, depth) for client in clients]
            time.sleep(pause_s)
        close_all(clients)

    def begin(load, client, depth):
        client = client or load.connect()
        return client and attempt(client, lambda: load.send(client, GET, depth) or True)

    def finish(load, client, depth):
        return client and attempt(client, lambda: load.receive(client, depth))

    return kind


def attempt(client, what):
    """The client if that went well; else it is closed."""
    with contextlib.suppress(OSError):
        if what():
            return client
    client.close()
    return None


def close_all(clients):
    for client in clients:
        if client:
            client.close()


def fresh(load):
    """A connection for each request; some with bodies that look like requests."""
    while load.goes_on():
        if client := load.connect():
            request = load.chance.choice([LAST_GET, LAST_GET, GET, CHUNKED, BODY])
            attempt(client, lambda: load.send(client, request) or load.receive(client, 1))
            client.close()
        time.sleep(0.002)


def hostile(load):
    """Bytes that must not count, whole or torn, some followed by a reset; a few idle connections beside."""
    idle = [load.connect() for _ in range(20)]
    while load.goes_on():
        if client := load.connect():
            noise = load.chance.choice([*HOSTILE, load.chance.randbytes(load.chance.randint(1, 3000))])
            with contextlib.suppress(OSError):
                client.sendall(noise)
                if load.chance.random() < 0.7:
                    client.shutdown(socket.SHUT_WR)
                    received, _ = drain(client, 1)
                    # What is answered with a tally was counted, and nobody has noted it as sent: the sums will tell.
                    load.note(ANSWERED, statuses(received).count(200))
                else:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        time.sleep(0.005)
    close_all(idle)


def slow(load):
    """Clients that pipeline and hardly read, until time is up; then they take all that is theirs."""
    times, clients = 300, [client for client in (load.connect(2048) for _ in range(8)) if client]
    clients = [attempt(client, lambda client=client: load.send(client, GET, times) or True) for client in clients]
    while load.goes_on():
        time.sleep(0.05)
    for client in clients:
        if client:
            attempt(client, lambda client=client: load.receive(client, times))
    close_all(clients)


KINDS = [kept(8, 1, 0.002), kept(4, 16, 0.004), fresh, hostile, slow]
