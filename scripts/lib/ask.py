"""Asking an operator's listener: counts, histories, metrics; and instants as exact nanoseconds.

For the scripts that prove figures. Every number is the server's own; instants are whole nanoseconds since
1970, since doubles would lose their last digits. Nothing here waits without a bound, or ever counts: a listener
is probed before it is asked, and only one that calls itself an admin listener is asked.
"""

import calendar, http.client, json, re, socket, time, urllib.parse

from terminal import printable

SECOND_NS = 1_000_000_000
UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}


# No server answers a request of this version with a number; every tallyd refuses it and counts it nowhere.
PROBE = b"GET / HTTP/9.9\r\n\r\n"
ANSWER_BYTES_MAX = 64 << 10


class Refused(Exception):
    """The operator's side has no answer; the text is its cause."""

    def __init__(self, cause):
        super().__init__(printable(cause))


class Misdirected(Refused):
    """Somebody else than who was meant answers there."""


def listener(place, timeout_s=10):
    """Which listener of a tallyd answers at `HOST:PORT`: 'admin' or 'hits'; nothing if another server does."""
    parts = urllib.parse.urlsplit(f"//{place}")
    received, until = b"", time.monotonic() + timeout_s
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout_s) as link:
            link.sendall(PROBE)
            while b"\r\n\r\n" not in received and len(received) < ANSWER_BYTES_MAX:
                link.settimeout(max(until - time.monotonic(), 0.001))
                more = link.recv(4096)
                if not more:
                    break
                received += more
    except ConnectionResetError:
        pass
    except OSError as cause:
        raise Refused(f"no answer from {place}: {cause}") from cause
    head, end, _ = received.partition(b"\r\n\r\n")
    found = re.search(rb"^server:[ \t]*([^\r\n]*?)[ \t]*\r?$", head, re.M | re.I) if end else None
    return named(found[1].decode("latin-1") if found else "")


def named(server):
    """The listener that calls itself so in the header Server."""
    if re.fullmatch(r"tallyd/\S+ admin", server):
        return "admin"
    return "hits" if server.startswith("tallyd") or server == "tiny-http (Rust)" else None


def require_admin(place, found):
    if found == "hits":
        raise Misdirected(f"{place} answers as a hits listener, not as an admin listener")
    if found != "admin":
        raise Misdirected(f"{place} does not answer as a tallyd admin listener")


class Operator:
    """One keep-alive connection to an operator's listener."""

    def __init__(self, place, timeout_s=10):
        self.place, self.link = place, http.client.HTTPConnection(place, timeout=timeout_s)
        self.is_known = False

    def identify(self):
        """Asserts that an admin listener answers, without being counted if none does."""
        if not self.is_known:
            require_admin(self.place, listener(self.place, self.link.timeout))
            self.is_known = True

    def text(self, path, **parameters):
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        for is_last in (False, True):
            # Behind a connection that ended another server may listen.
            self.is_known = self.is_known and self.link.sock is not None
            self.identify()
            try:
                self.link.request("GET", path + query)
                reply = self.link.getresponse()
                body = reply.read().decode(errors="replace")
                break
            except (OSError, http.client.HTTPException) as cause:
                # An idle connection may have been closed by the server; a new one is opened once.
                self.link.close()
                if is_last:
                    raise Refused(f"no answer from the operator's listener at {self.place}: {cause}") from cause
        require_admin(self.place, named(reply.getheader("Server", "")))
        if reply.status != 200:
            raise Refused(f"{path}{query}: {reply.status}: {body.strip()}")
        return body

    def json(self, path, **parameters):
        try:
            answer = json.loads(self.text(path, format="json", **parameters))
        except ValueError as cause:
            raise Refused(f"{self.place}{path}: the answer is no JSON: {cause}") from cause
        return Fields(f"{self.place}{path}", answer)

    def total(self):
        """An instant, and the number of hits ever counted until then."""
        answer = self.json("/total")
        return answer.instant_ns("at"), answer.number("total")

    def count(self, from_ns, to_ns):
        """The number of hits after one instant and up to another."""
        answer = self.json("/count", **{"from": instant(from_ns), "to": instant(to_ns)})
        answer.require_span(from_ns, to_ns)
        return answer.number("count")

    def history(self, window_ns, step_ns, align=False):
        """When the first step begins, and the hits of each step; aligned, of which the last may still run."""
        wish = {"align": "true"} if align else {}
        answer = self.json("/history", window=f"{window_ns}ns", step=f"{step_ns}ns", **wish)
        from_ns, counts = answer.instant_ns("from"), answer["counts"]
        left_ns = from_ns + window_ns - answer.instant_ns("to")
        is_asked = from_ns % step_ns == 0 and 0 <= left_ns < step_ns if align else left_ns == 0
        if not is_asked:
            answer.refuse_span()
        if int(answer["step_ns"]) != step_ns or len(counts) != window_ns // step_ns:
            raise Refused(f"{answer.place}: {len(counts)} steps of {answer['step_ns']} ns were not asked for")
        return from_ns, counts

    def status(self):
        return self.json("/status")

    def metrics(self):
        try:
            return Metrics(self.text("/metrics"))
        except (AttributeError, ValueError) as cause:
            raise Refused(f"{self.place}/metrics: the answer is no page of metrics") from cause


class Fields:
    """The fields of an answer; one that is missing or of another kind is an error that names it."""

    def __init__(self, place, fields):
        self.place, self.fields = place, fields

    def __getitem__(self, name):
        try:
            return self.fields[name]
        except (KeyError, TypeError):
            raise Refused(f"{self.place}: '{name}' is missing in the answer") from None

    def number(self, name):
        number = self[name]
        if type(number) is not int or number < 0:
            raise Refused(f"{self.place}: '{name}' is no whole number")
        return number

    def instant_ns(self, name):
        try:
            return instant_ns(self[name])
        except (AttributeError, TypeError, ValueError):
            raise Refused(f"{self.place}: '{name}' is no instant") from None

    def require_span(self, from_ns, to_ns):
        if (self.instant_ns("from"), self.instant_ns("to")) != (from_ns, to_ns):
            self.refuse_span()

    def refuse_span(self):
        raise Refused(f"{self.place}: answered for {self['from']} to {self['to']}, which was not asked for")


class Metrics:
    """A page of metrics: values as text by name and labels, kinds by name."""

    LINE = re.compile(r'([a-z_]+)(?:\{(.*)\})? (\S+)')

    def __init__(self, text):
        self.text, self.kinds, self.values = text, {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.kinds[name] = kind
            elif not line.startswith("#"):
                name, labels, value = self.LINE.fullmatch(line).groups()
                self.values[name, labels or ""] = value

    def get(self, name, labels=""):
        value = self.values[name, labels]
        return float(value) if "." in value else int(value)

    def sum(self, name):
        return sum(self.get(*key) for key in self.values if key[0] == name)


def instant_ns(text):
    """Nanoseconds since 1970 of an instant such as 2026-11-23T20:08:59.739840268Z."""
    second, digits = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(second, "%Y-%m-%dT%H:%M:%S")) * SECOND_NS + int(digits.ljust(9, "0"))


def instant(ns):
    second, rest = divmod(ns, SECOND_NS)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{rest:09}Z"


def duration_ns(text):
    """Nanoseconds of a duration with its unit, such as 250ms or 1.5s."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not found:
        raise ValueError(f"'{text}' is no duration such as 250ms or 1.5s")
    return round(float(found[1]) * UNITS_NS[found[2]])


def duration(ns):
    """A duration for people, to four digits."""
    for unit in ("s", "ms", "us"):
        if ns >= UNITS_NS[unit]:
            return f"{ns / UNITS_NS[unit]:.4g} {unit.replace('u', 'µ')}"
    return f"{ns} ns"
