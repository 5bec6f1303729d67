"""A machine that can be booted, its clocks, a tallyd on it, and the ledger of what was sent to it.

Owns what can be done to time: the wall clock is stepped by libfaketime's file, a boot is a time namespace with
a boot_id of its own, a suspend is SIGSTOP. Every tally, start line and new segment is held to scripts/lib/
ledger.py at once; what was expected and found is kept as words. Must not know which case is played.
Invariant: when it is left, its server is ended and its directory gone; namespaces go with their process.
"""

import concurrent.futures, contextlib, os, pathlib, shutil, signal, sys, tempfile, threading, time, uuid

sys.dont_write_bytecode = True
import segments
from ledger import Hit, Span, count, count_among, moved, now_ns, place, true_wall_ns
from lives import Life
from tallyd import GET, Failure, read_reply

KILL, TERM = signal.SIGKILL, signal.SIGTERM
WINDOW_S, ANSWER_S = 2, 30  # a busy machine's disk may keep an answer waiting
DETECTED_S = 0.1  # below that a step needs no new anchor
JUMP = " warn: the wall clock jumped by "
LATE_NS = 10**9  # history is kept for so much longer than the window


class World:
    """A machine that can be booted, its clocks, a tallyd on it, and the ledger of what was sent to it."""

    def __init__(self, binary, shim, front):
        self.binary, self.shim, self.front, self.window_ns = binary, shim, front, WINDOW_S * 10**9
        self.here = pathlib.Path(tempfile.mkdtemp(prefix="tallyd-clocks-"))
        self.data, self.boot_file, self.wall_file = (self.here / name for name in ("data", "boot", "wall"))
        self.boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self.line_s, self.suspended_s, self.is_in_namespace, self.step_s, self.anchor_s = 0, 0, False, 0, None
        self.shown_s, self.has_proc = 0, True  # of the namespace's offset, what tallyd can see and take off
        self.hits, self.placed, self.expected, self.found, self.wrong = [], [], [], [], []
        self.is_exact, self.life, self.client, self.gone = True, None, None, 0
        self.step(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(KILL)
        shutil.rmtree(self.here, ignore_errors=True)

    def say(self, expected, found, is_right=None):
        self.expected.append(expected)
        self.found.append(found)
        if not (expected == found if is_right is None else is_right):
            self.wrong.append(f"{found} and not {expected}")

    # What can be done to it.

    def start(self):
        began, flags = now_ns(), ["--window", f"{WINDOW_S}s", "--front", self.front]
        self.life = Life(self.binary, self.data, *flags, before=self.before())
        self.client, self.anchor_s, now = self.life.connect(ANSWER_S), None, Span(began, now_ns())
        wall_ns = true_wall_ns() + int(self.step_s * 1e9)
        self.placed, doubt = place(self.hits, now, self.line_s * 10**9, wall_ns, self.boot)
        uptime = moved(now, self.line_s * 10**9)
        counted = self.count(self.placed, uptime)
        # Until what is in doubt has left the window.
        must = doubt is not None and uptime.high - self.window_ns < doubt.low
        may = doubt is not None and uptime.low - self.window_ns < doubt.high
        self.is_exact &= must == may
        found = f"[{self.life.in_window}{'~' if self.life.is_estimated else ''}]"
        is_right = counted.low <= self.life.in_window <= counted.high and must <= self.life.is_estimated <= may
        mark = "~" if must else ""
        self.say(f"[{between(counted, counted)}{mark}]", found, is_right)

    def before(self):
        """What the server is run by: the namespace of its boot, and the shim."""
        words = []
        if self.is_in_namespace:
            self.boot_file.write_text(self.boot + "\n")
            suspended_s = round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()) - self.suspended_s
            words = ["unshare", "--time", "--mount"] + ["--user", "--map-root-user"] * (os.geteuid() != 0)
            line_s = self.line_s + self.shown_s
            words += ["--boottime", line_s, "--monotonic", line_s + suspended_s, "sh", "-c"]
            # tallyd takes the offset of a namespace off, so a machine that was booted must not have one.
            binds = f'mount --bind "$0" /proc/sys/kernel/random/boot_id && {self.hidden()}'
            words += [f'{binds if self.has_proc else "umount -l /proc"} && exec "$@"', self.boot_file]
        if self.shim:
            words += ["env", f"LD_PRELOAD={self.shim}", f"FAKETIME_TIMESTAMP_FILE={self.wall_file}"]
            words += ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        return words

    def hidden(self):
        """Binds a table with the rest of the namespace's offset over the kernel's: what is not shown looks like a boot."""
        table = self.here / "offsets"
        table.write_text(f"monotonic 0 0\nboottime {self.shown_s} 0\n")
        return f'mount --bind {table} /proc/$$/timens_offsets'

    def end(self, by=TERM):
        if self.client:
            self.client.close()
        if self.life:
            kept_from = now_ns() + self.line_s * 10**9 - self.window_ns - LATE_NS
            self.gone = max(self.gone, sum(stamp.low <= kept_from for stamp in self.placed))
            status = self.life.finish(by)
            said = [line for line in self.life.said.splitlines() if JUMP not in line]
            if status != (0 if by == TERM else -by) or said:
                self.wrong.append(f"{by.name} ends it with {status}: {self.life.said[-300:]}")
            for left in pathlib.Path("/dev/shm").glob(f"*faketime_*_{self.life.pid}"):
                left.unlink(missing_ok=True)
        self.life = self.client = None

    def restart(self, by=KILL):
        self.end(by)
        self.start()

    def step(self, step_s):
        """From now on the wall clock is so many seconds from the true one."""
        self.step_s = step_s
        fresh = self.here / "wall.new"
        fresh.write_text(f"{step_s:+}\n")
        fresh.rename(self.wall_file)

    def reboot(self, off_s=0.2, step_s=None, by=KILL):
        """The power goes; the board's line begins up to a second later than it could, on a whole second."""
        self.end(by)
        zero_s = int(now_ns() / 1e9 + off_s) + 1
        self.boot, self.line_s, self.is_in_namespace = str(uuid.uuid4()), -zero_s, True
        self.step(self.step_s if step_s is None else step_s)
        self.await_uptime(0.1)
        self.start()

    def move(self, line_s, boot=None):
        """A boot with this line, whatever is true."""
        self.end()
        self.boot, self.line_s, self.is_in_namespace = boot or self.boot, line_s, True
        self.start()

    def hit(self, times=3):
        """Hits one after the other."""
        numbers, tallies, allowed = self.begin_group(), [], []
        for _ in range(times):
            began = now_ns()
            tallies.append(ask(self.client))
            allowed.append(self.enter([Span(began, now_ns())])[0])
        self.end_group(numbers, tallies, allowed)

    def suspend(self, for_s, waiting=3):
        """A stop of all its threads; hits come in meanwhile, on a connection it has and on new ones."""
        self.life.pause()
        numbers, clients = self.begin_group(), [self.client]
        clients += [self.life.connect(ANSWER_S) for _ in range(waiting - 1)]
        for client in clients:
            client.sendall(GET)
        time.sleep(for_s)
        began = now_ns()
        self.life.resume()
        tallies = sorted(tally_of(client) for client in clients)
        allowed = self.enter([Span(began, now_ns())] * waiting)
        for client in clients[1:]:
            client.close()
        self.end_group(numbers, tallies, allowed)

    def begin_group(self):
        """The segments there are; the next hit makes one if this life has none or the wall was stepped."""
        self.is_anchor_due = self.anchor_s is None or abs(self.anchor_s - self.step_s) >= DETECTED_S
        self.anchor_s = self.step_s if self.is_anchor_due else self.anchor_s
        return {header.number for header in segments.headers(self.data)}

    def enter(self, spans):
        """Puts hits into the ledger, none of which is known to be before another; what each tally may be."""
        wall_ns, before = true_wall_ns() + int(self.anchor_s * 1e9), len(self.placed)
        self.hits += [Hit(span, self.line_s * 10**9, wall_ns, self.boot) for span in spans]
        self.placed += [moved(span, self.line_s * 10**9) for span in spans]
        now = self.placed[-1]
        return [self.count(self.placed[: before + more + 1], now) for more in range(len(spans))]

    def count(self, placed, now):
        """What a wrong clock has once put outside of all windows may be gone for good, or still be there."""
        return Span(count(placed[self.gone :], now, self.window_ns).low, count(placed, now, self.window_ns).high)

    def end_group(self, numbers, tallies, allowed):
        is_right = all(each.low <= tally <= each.high for tally, each in zip(tallies, allowed))
        expected, found = between(allowed[0], allowed[-1]), between(tallies[0], tallies[-1])
        made = [header for header in segments.headers(self.data) if header.number not in numbers]
        is_right &= len(made) == self.is_anchor_due
        if self.is_anchor_due:
            expected += f"@{round(self.anchor_s, 1) + 0:+.10g}"
        for header in made:
            began = self.placed[-len(tallies)]
            is_named = not self.has_proc or header.boot == self.boot.replace("-", "")
            if not is_named or not began.low <= header.base_ns + 1 <= began.high:
                self.wrong.append(f"{header} and not of {self.boot} at {began}")
            from_true_s = (header.wall_ns - header.base_ns + self.line_s * 10**9 - true_wall_ns()) / 1e9
            found += f"@{round(from_true_s, 1) + 0:+.10g}"
            is_right &= abs(from_true_s - self.anchor_s) < DETECTED_S
        self.is_exact &= all(each.low == each.high for each in allowed)
        self.say(expected, found, is_right)

    def outlast(self):
        """When the uptime exceeds the window, no clock has a say any more: the true count, and no estimate."""
        self.await_uptime(1)
        self.hit(2)
        self.await_uptime(WINDOW_S + 0.65)
        self.restart(TERM)
        began = now_ns()
        tally = ask(self.client)
        self.begin_group()
        self.enter([Span(began, now_ns())])
        true = count([hit.span for hit in self.hits], self.hits[-1].span, self.window_ns)
        self.is_exact &= true.low == true.high
        self.say(f"={between(true, true)}", f"={tally}", true.low <= tally <= true.high)

    def await_uptime(self, uptime_s):
        time.sleep(max(uptime_s - self.line_s - now_ns() / 1e9, 0))

    def crowd(self, clients, for_s, pause_s):
        """Many at once around a suspend; their tallies are bounded by each other's times."""
        seen, stopping = [], threading.Event()

        def come():
            with contextlib.closing(self.life.connect(ANSWER_S)) as client:
                while not stopping.is_set():
                    began = now_ns()
                    tally = ask(client)
                    seen.append((Span(began, now_ns()), tally))
                    time.sleep(0.004)

        with concurrent.futures.ThreadPoolExecutor(clients) as crowd:
            coming = [crowd.submit(come) for _ in range(clients)]
            try:
                time.sleep(for_s)
                self.life.pause()
                time.sleep(pause_s)
                self.life.resume()
                time.sleep(for_s)
            finally:
                stopping.set()
            for each in coming:
                each.result()
        spans = [span for span, _ in seen]
        bounds = [count_among(spans, span, self.window_ns) for span in spans]
        outside = sum(not bound.low <= tally <= bound.high for (_, tally), bound in zip(seen, bounds))
        self.say("0 outside", f"{outside} outside", outside == 0)
        self.found[-1] += f" of {len(seen)} tallies"


def tally_of(client):
    began = now_ns()
    reply = read_reply(client, ANSWER_S)
    if not reply or reply[0] != 200:
        raise Failure(f"a hit is answered {reply} after {(now_ns() - began) / 1e9:.1f} s")
    return int(reply[1])


def ask(client):
    client.sendall(GET)
    return tally_of(client)


def between(first, last):
    """One tally or two, or their bounds, for people."""
    text = lambda one: str(one) if isinstance(one, int) else str(one.low) if one.low == one.high else f"{one.low} to {one.high}"
    return text(first) if first == last else f"{text(first)}-{text(last)}"
