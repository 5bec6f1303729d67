"""Asking an operator's listener: counts, histories, metrics; and instants as exact nanoseconds.

For the scripts that prove figures. Every number is the server's own; instants are whole nanoseconds since
1970, since doubles would lose their last digits. Nothing here waits without a bound, or ever counts.
"""

import calendar, http.client, json, re, time, urllib.parse

SECOND_NS = 1_000_000_000
UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}


class Refused(Exception):
    """The operator's side has no answer; the text is its cause."""


class Operator:
    """One keep-alive connection to an operator's listener."""

    def __init__(self, place, timeout_s=10):
        self.place, self.link = place, http.client.HTTPConnection(place, timeout=timeout_s)

    def text(self, path, **parameters):
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        for is_last in (False, True):
            try:
                self.link.request("GET", path + query)
                reply = self.link.getresponse()
                body = reply.read().decode()
                break
            except (OSError, http.client.HTTPException) as cause:
                # An idle connection may have been closed by the server; a new one is opened once.
                self.link.close()
                if is_last:
                    raise Refused(f"no answer from the operator's listener at {self.place}: {cause}") from cause
        if reply.status != 200:
            raise Refused(f"{path}{query}: {reply.status}: {body.strip()}")
        return body

    def json(self, path, **parameters):
        return json.loads(self.text(path, format="json", **parameters))

    def total(self):
        """An instant, and the number of hits ever counted until then."""
        answer = self.json("/total")
        return instant_ns(answer["at"]), answer["total"]

    def count(self, from_ns, to_ns):
        """The number of hits after one instant and up to another."""
        return self.json("/count", **{"from": instant(from_ns), "to": instant(to_ns)})["count"]

    def history(self, window_ns, step_ns, align=False):
        """When the first step begins, and the hits of each step; aligned, of which the last may still run."""
        wish = {"align": "true"} if align else {}
        answer = self.json("/history", window=f"{window_ns}ns", step=f"{step_ns}ns", **wish)
        return instant_ns(answer["from"]), answer["counts"]

    def status(self):
        return self.json("/status")

    def metrics(self):
        return Metrics(self.text("/metrics"))


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
