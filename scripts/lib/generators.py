"""Load generators behind one face: ab, hey, curl, wrk, and a steady one of our own.

Each is told what to send and says what it has sent: `Sent`. All but wrk send an exact number; wrk drops
what is under way when its time is up, so that what it completed and what it began are bounds. Each is asked for
output that is made for machines, and only standard output or a file of its own is read; proxies of the environment
are not used. Must not know how a server counts. Invariant: `completed` were answered 200, and no more than `most` were begun.
"""

import collections, csv, io, json, pathlib, re, shutil, socket, subprocess, tempfile, time
from tallyd import GET, Failure, split_reply
from terminal import direct, printable

PATIENCE_S = 600  # beyond the time that a run is meant to take
PACKAGES = {"ab": "apache2-utils", "hey": "hey", "curl": "curl", "wrk": "wrk"}

Plan = collections.namedtuple("Plan", "url requests seconds connections rate")
Sent = collections.namedtuple("Sent", "requests completed errors most")

WRK_SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) begun = 0 end
function request()
    begun = begun + 1
    return wrk.format()
end
function done(summary, latency, requests)
    local sum = 0
    for _, thread in ipairs(threads) do sum = sum + thread:get("begun") end
    local e = summary.errors
    local completed = summary.requests - e.status
    local errors = e.connect + e.read + e.write + e.timeout + e.status
    local file = assert(io.open(os.getenv("TALLYD_WRK_REPORT"), "w"))
    file:write(string.format('{"begun": %d, "completed": %d, "errors": %d}', sum, completed, errors))
    file:close()
end
"""


def present(name):
    return name == "steady" or shutil.which(name) is not None


class Report:
    """What a generator has printed on standard output, and how it ended."""

    def __init__(self, *words, **environment):
        self.name = words[0]
        done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=PATIENCE_S,
                              env=direct() | {"LC_ALL": "C"} | environment)
        self.status, self.text = done.returncode, done.stdout
        lines = done.stderr.strip().splitlines()
        self.last = printable(lines[-1]) if lines else "no message"

    def missing(self, what):
        """That it says nothing of what is needed: there is no figure to go by."""
        return Failure(f"{self.name} reports no {what}; exit status {self.status}: {self.last}")

    def field(self, name, default=None):
        """A number of the report; `default` where it is left out if it is 0."""
        found = re.search(rf"^{re.escape(name)}:[ \t]*(\d+)", self.text, re.M)
        if not found and default is None:
            raise self.missing(f"'{name}'")
        return int(found[1]) if found else default


def exact(requests, completed, errors=None):
    errors = requests - completed if errors is None else errors
    return Sent(requests, completed, errors, completed + errors)


def ab(plan):
    # -k keeps connections, -l allows answers of different length.
    done = Report("ab", "-q", "-k", "-l", "-n", plan.requests, "-c", plan.connections, plan.url)
    completed, refused = done.field("Complete requests"), done.field("Non-2xx responses", 0)
    errors = done.field("Failed requests") + refused + plan.requests - completed
    return exact(plan.requests, completed - refused, errors)


def hey(plan):
    # It gives each connection the same number.
    requests = plan.requests - plan.requests % plan.connections
    done = Report("hey", "-o", "csv", "-n", requests, "-c", plan.connections, plan.url)
    rows = csv.DictReader(io.StringIO(done.text))
    if "status-code" not in (rows.fieldnames or ()):
        raise done.missing("column 'status-code'")
    return exact(requests, sum(row["status-code"] == "200" for row in rows))


def curl(plan):
    # Each number makes one request; what is not a 200 is an error. -q leaves out what a .curlrc says. Bodies go
    # elsewhere, so that standard output has nothing but a status a line.
    done = Report("curl", "-q", "-s", "-Z", "--noproxy", "*", "--parallel-max", plan.connections, "--max-time", PATIENCE_S,
                  "-o", "/dev/null", "-w", "%{http_code}\n", f"{plan.url}[1-{plan.requests}]")
    statuses = done.text.splitlines()
    if not statuses or not all(re.fullmatch(r"\d{3}", status) for status in statuses):
        raise done.missing("status a line")
    return exact(plan.requests, statuses.count("200"))


def wrk(plan):
    with tempfile.TemporaryDirectory(prefix="tallyd-wrk-") as here:
        script, report = pathlib.Path(here, "count.lua"), pathlib.Path(here, "report.json")
        script.write_text(WRK_SCRIPT)
        done = Report("wrk", "-t", 1, "-c", plan.connections, "-d", f"{plan.seconds}s", "-s", script, plan.url,
                      TALLYD_WRK_REPORT=str(report))
        try:
            said = json.loads(report.read_text())
        except (OSError, ValueError):
            raise done.missing("figures") from None
    return Sent(said["begun"], said["completed"], said["errors"], said["begun"])


def steady(plan):
    """`rate` requests a second for `seconds`, each at its time, on each connection in turn."""
    host, port = re.fullmatch(r"http://([^/]+):(\d+)/", plan.url).groups()
    requests, completed = plan.rate * plan.seconds, 0
    links = [socket.create_connection((host.strip("[]"), int(port)), timeout=10) for _ in range(plan.connections)]
    began = time.monotonic()
    try:
        for number in range(requests):
            early_s = began + number / plan.rate - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            completed += asked(links[number % len(links)])
    finally:
        for link in links:
            link.close()
    return exact(requests, completed)


def asked(link):
    """Whether a request on this connection is answered 200."""
    try:
        link.sendall(GET)
        received = b""
        while not (reply := split_reply(received)):
            more = link.recv(4096)
            if not more:
                return False
            received += more
        return reply[0] == 200
    except OSError:
        return False


ALL = {"ab": ab, "hey": hey, "wrk": wrk, "curl": curl, "steady": steady}
