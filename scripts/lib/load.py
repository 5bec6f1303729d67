"""Clients that keep a ledger: what was sent, when, and with which tally it was answered.

`Load` keeps many connections busy from one thread: each sends a burst, waits for all its answers, and sends
the next. `Ledger` outlives the server: it says how many hits a window can hold at the least and at the
most, from nothing but when they were sent and answered. All instants are CLOCK_BOOTTIME in nanoseconds,
the server's own line.

Must not know how servers end. What holds: a hit is entered as sent before its bytes leave, and as answered
once its tally is here, so that its stamp lies between the two.
"""

import array, bisect, contextlib, random, re, select, socket, time

from tallyd import GET

ANSWER = re.compile(rb"\r\n\r\n(\d+)\n")
REFUSAL = b"HTTP/1.1 503 "
CONNECT_S = 5


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Tape:
    """A running count that can be asked for any past instant. Instants are entered in order."""

    def __init__(self):
        self.instants, self.counts = [0], [0]

    def add(self, instant_ns, count):
        self.instants.append(instant_ns)
        self.counts.append(self.counts[-1] + count)

    def upto(self, instant_ns):
        return self.counts[bisect.bisect_right(self.instants, instant_ns) - 1]

    def total(self):
        return self.counts[-1]

    def instant_of(self, count):
        """When the running count first was at least `count`."""
        return self.instants[bisect.bisect_left(self.counts, count)]


class Ledger:
    """All hits sent to one journal, over all lives of its servers."""

    def __init__(self):
        self.sent, self.answered = Tape(), Tape()
        # Hits that can have no later stamp: answered, or their server is dead.
        self.over = Tape()
        # Hits that were never answered, by when they were sent.
        self.given_up = Tape()

    def bounds(self, sent_ns, answered_ns, window_ns):
        """The fewest and the most hits that a hit sent and answered then can count, itself among them.

        Its stamp t and those of all others lie between sending and answering. For certain in
        (t - window, t] is what was answered before it was sent and sent less than a window before it was
        answered; for certain outside is what was over a window before it was sent.
        """
        old = self.sent.upto(answered_ns - window_ns) - self.given_up.upto(answered_ns - window_ns)
        fewest = max(self.answered.upto(sent_ns) - old, 0) + 1
        most = self.sent.upto(answered_ns) - self.over.upto(sent_ns - window_ns)
        return fewest, most


class Client:
    """One connection and its burst under way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.waiting, self.sent_ns, self.received = 0, 0, b""


class Load:
    """Connections to one server life. What it saw: `tallies` in the order of their arrival, `receipts`
    as (sent, answered, tallies) of what one connection received at once, and how many were refused."""

    def __init__(self, ledger, port, clients, burst, seed=0):
        self.ledger, self.burst, self.chance = ledger, burst, random.Random(seed)
        self.sent, self.refused = 0, 0
        self.tallies, self.receipts, self.given_up = array.array("Q"), [], []
        self.poll, self.clients, self.port = select.epoll(), {}, port
        self.join(clients)

    def join(self, clients):
        """Connects until there are so many: a refused hit ends its connection."""
        for _ in range(clients - len(self.clients)):
            # The server may be dead by now; what was connected before is enough.
            with contextlib.suppress(OSError):
                client = Client(self.port)
                self.clients[client.socket.fileno()] = client
                self.poll.register(client.socket, select.EPOLLIN)

    def probe(self):
        """One hit on one connection, answered when this returns."""
        for client in list(self.clients.values())[:1]:
            self.send(client, 1)
        self.run(now_ns(), settle=True)

    def run(self, until_ns, settle=False):
        """Sends until then, or until every connection has ended. With `settle`, goes on to the last answer."""
        idle = [client for client in self.clients.values() if not client.waiting]
        while self.clients:
            now = now_ns()
            if now < until_ns:
                for client in idle:
                    self.send(client, self.chance.randint(1, self.burst))
                idle.clear()
            elif now >= until_ns + CONNECT_S * 10**9:
                break
            elif not settle or not any(client.waiting for client in self.clients.values()):
                break
            for number, _ in self.poll.poll(min(max((until_ns - now) / 1e9, 0.001), 0.05)):
                client = self.clients[number]
                if self.receive(client) and not client.waiting:
                    idle.append(client)

    def send(self, client, hits):
        client.sent_ns = now_ns()
        # If nothing leaves, what is still to be read says how the connection ended.
        with contextlib.suppress(OSError):
            hits = client.socket.send(GET * hits) // len(GET)
            client.waiting += hits
            self.sent += hits
            self.ledger.sent.add(client.sent_ns, hits)

    def receive(self, client):
        """Takes what has arrived; whether the connection goes on."""
        more = b""
        with contextlib.suppress(OSError):
            more = client.socket.recv(1 << 18)
        received, end, fresh = client.received + more, 0, []
        for answer in ANSWER.finditer(received):
            fresh.append(int(answer[1]))
            end = answer.end()
        client.received = received[end:]
        if fresh:
            now = now_ns()
            client.waiting -= len(fresh)
            self.tallies.extend(fresh)
            self.receipts.append((client.sent_ns, now, fresh))
            self.ledger.answered.add(now, len(fresh))
            self.ledger.over.add(now, len(fresh))
        if not more:
            self.refused += client.received.count(REFUSAL)
            self.end(client)
        return bool(more)

    def end(self, client):
        self.poll.unregister(client.socket)
        del self.clients[client.socket.fileno()]
        client.socket.close()
        if client.waiting:
            self.given_up.append((client.sent_ns, client.waiting))

    def close(self):
        """The server of this life is dead: what it has not answered never will be, and has no later stamp."""
        for client in list(self.clients.values()):
            self.end(client)
        self.poll.close()
        for sent_ns, count in sorted(self.given_up):
            self.ledger.given_up.add(sent_ns, count)
        self.ledger.over.add(now_ns(), sum(count for _, count in self.given_up))

    def misfits(self, window_ns):
        """Tallies that the ledger cannot explain, one line each."""
        for sent_ns, answered_ns, tallies in self.receipts:
            fewest, most = self.ledger.bounds(sent_ns, answered_ns, window_ns)
            if min(tallies) < fewest or max(tallies) > most:
                yield f"tallies {min(tallies)} to {max(tallies)} where the ledger allows {fewest} to {most}"

    def strays(self, base):
        """What is wrong if nothing leaves the window and `base` hits were counted before this life."""
        if len(set(self.tallies)) < len(self.tallies):
            yield "a tally was given twice"
        if self.tallies and min(self.tallies) != base + 1:
            yield f"the first tally is {min(self.tallies)} after {base} hits"
        if self.tallies and max(self.tallies) > base + self.sent:
            yield f"the last tally is {max(self.tallies)}, {base} hits and {self.sent} sent"
