"""Rounds of hits and what their tallies must be; for scripts/faults and scripts/resources.

Owns the pipelining client and the ledger that judges its answers. A round is a number of hits that are sent
together and waited for. All stamps of a round lie between its beginning and its end on the boot-time clock, so
the ledger knows which earlier rounds are surely in the window, and which may be. Where these are the same the
answers of a round must be the numbers n+1 to n+N, each once; elsewhere they must lie between the two.

Must not know what is done to the server. Invariant: what was not answered 200 was not counted, but for hits that
were not answered because the process died or was held up, which may have been or may yet be.
"""

import math, re, select, socket, time
from tallyd import GET

ROUND_S = 10  # a round that takes longer is given up: silence


def now():
    """The clock that stamps are from."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Round:
    """What was sent, when, and what came of it."""

    def __init__(self):
        self.began = self.ended = now()
        self.sent, self.tallies, self.refused, self.silent, self.other = 0, [], 0, 0, []

    def is_counted(self):
        return self.sent > 0 and len(self.tallies) == self.sent


class Client:
    """Connections that are kept as long as the server keeps them, and made again where it has ended them."""

    def __init__(self, server, connections=8):
        self.server, self.sockets = server, [None] * connections

    def close(self):
        for index in range(len(self.sockets)):
            self.drop(index)

    def drop(self, index):
        if self.sockets[index]:
            self.sockets[index].close()
        self.sockets[index] = None

    def round(self, each=1, patience_s=ROUND_S, connections=None):
        """`each` hits on every connection."""
        made, poll, open_at, received, behind = Round(), select.epoll(), {}, {}, {}
        for index in range(connections or len(self.sockets)):
            try:
                client = self.sockets[index] or self.server.connect(patience_s)
            except OSError:
                made.sent, made.silent = made.sent + each, made.silent + each
                continue
            client.setblocking(False)
            self.sockets[index], open_at[client.fileno()] = client, index
            received[index], behind[index] = bytearray(), GET * each
            made.sent += each
            poll.register(client, select.EPOLLOUT | select.EPOLLIN)
        # Only from here on anything is sent.
        made.began, until = now(), time.monotonic() + patience_s
        while open_at and time.monotonic() < until:
            for number, event in poll.poll(max(until - time.monotonic(), 0)):
                index = open_at[number]
                if self.step(poll, index, event, received[index], behind, each):
                    del open_at[number]
                    # A socket that was closed has left the poll by itself.
                    if self.sockets[index]:
                        poll.unregister(number)
        made.ended = now()
        for index in open_at.values():
            self.drop(index)
        poll.close()
        for each_received in received.values():
            read_answers(made, bytes(each_received), each)
        return made

    def step(self, poll, index, event, received, behind, each):
        """Goes on with one connection; whether it has all there is."""
        client = self.sockets[index]
        try:
            if event & select.EPOLLOUT and behind[index]:
                behind[index] = behind[index][client.send(behind[index]) :]
                if not behind[index]:
                    poll.modify(client, select.EPOLLIN)
            more = client.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            self.drop(index)
            return True
        received += more
        if not more:
            self.drop(index)
            return True
        return received.count(b"HTTP/1.1 200 ") == each and received[-1:] == b"\n" and received[-2:] != b"\r\n"


def read_answers(made, received, each):
    tallies = [int(tally) for tally in re.findall(rb"\r\n\r\n(\d+)\n", received)]
    codes = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
    refused = codes.count(503)
    made.tallies += tallies
    made.other += [code for code in codes if code not in (200, 503)]
    # Behind a 503 the connection ends, and nothing that was sent behind it is counted or answered.
    made.refused += each - len(tallies) if refused else 0
    made.silent += 0 if refused else each - len(tallies)


class Ledger:
    """Every round so far, and what was wrong with its answers."""

    def __init__(self, window_s):
        self.window_s, self.rounds, self.wrong = window_s, [], []
        self.acked = self.unknown = self.refused = self.exact = self.ranged = 0

    def enter(self, made, died=False):
        """Judges a round. `died`: the process may have counted what it did not answer, or may yet."""
        lowest, highest = 0, 0
        for began, ended, least, most in reversed(self.rounds):
            if ended <= made.began - self.window_s:
                continue
            highest += most
            lowest += least if began > made.ended - self.window_s else 0
        count, tallies = len(made.tallies), sorted(made.tallies)
        where = f"round {len(self.rounds) + 1}"
        if lowest == highest and made.ended - made.began < self.window_s:
            self.exact += count
            if tallies != list(range(lowest + 1, lowest + count + 1)):
                self.wrong.append(f"{where}: {tallies[0]} to {tallies[-1]}, right is {lowest + 1} to {lowest + count}")
        elif tallies:
            self.ranged += count
            lowest = lowest if made.ended - made.began < self.window_s else 0
            if tallies[0] <= lowest or tallies[-1] > highest + count:
                self.wrong.append(f"{where}: {tallies[0]} to {tallies[-1]}, right is {lowest + 1} to {highest + count}")
        if made.other:
            self.wrong.append(f"{where}: answered {sorted(set(made.other))}")
        if made.silent and not died:
            self.wrong.append(f"{where}: {made.silent} of {made.sent} hits have no answer")
        unknown = made.silent if died else 0
        self.rounds.append((made.began, made.ended, count, count))
        if unknown:
            # What the server has not read yet it may stamp at any time.
            self.rounds.append((made.began, math.inf, 0, unknown))
        self.acked, self.unknown, self.refused = self.acked + count, self.unknown + unknown, self.refused + made.refused
        return made

    def settle(self):
        """The server has by now read all that was left unanswered: it will stamp none of it any more."""
        ended = now()
        self.rounds = [(began, min(until, ended), least, most) for began, until, least, most in self.rounds]
