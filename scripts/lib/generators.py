"""Load generators behind one face: ab, hey, curl, wrk, and a steady one of our own.

Each is told what to send and says what it has sent: `Sent`. All but wrk send an exact number; wrk drops
what is under way when its time is up, so that what it completed and what it began are bounds. Must not
know how a server counts. Invariant: `completed` were answered 200, and no more than `most` were begun.
"""

import collections, pathlib, re, shutil, socket, subprocess, tempfile, time
from tallyd import GET, split_reply

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
    print("begun: " .. sum)
    print("completed: " .. (summary.requests - e.status))
    print("errors: " .. (e.connect + e.read + e.write + e.timeout + e.status))
end
"""


def present(name):
    return name == "steady" or shutil.which(name) is not None


def report(*words):
    """What a generator prints; one that fails says less, and the figures show it."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=PATIENCE_S)
    return done.stdout


def field(text, name):
    """A number of a report; 0 if it is not there."""
    found = re.search(rf"^{re.escape(name)}:\s*(\d+)", text, re.M)
    return int(found[1]) if found else 0


def exact(requests, completed, errors=None):
    errors = requests - completed if errors is None else errors
    return Sent(requests, completed, errors, completed + errors)


def ab(plan):
    # -k keeps connections, -l allows answers of different length.
    text = report("ab", "-q", "-k", "-l", "-n", plan.requests, "-c", plan.connections, plan.url)
    completed, refused = field(text, "Complete requests"), field(text, "Non-2xx responses")
    errors = field(text, "Failed requests") + refused + plan.requests - completed
    return exact(plan.requests, completed - refused, errors)


def hey(plan):
    # It gives each connection the same number.
    requests = plan.requests - plan.requests % plan.connections
    text = report("hey", "-n", requests, "-c", plan.connections, plan.url)
    return exact(requests, sum(map(int, re.findall(r"\[200\]\s+(\d+) responses", text))))


def curl(plan):
    # Each number makes one request; what is not a 200 is an error.
    text = report("curl", "-s", "-Z", "--parallel-max", plan.connections, "--max-time", PATIENCE_S, "-o", "/dev/null",
                  "-w", "%{http_code}\n", f"{plan.url}[1-{plan.requests}]")
    return exact(plan.requests, text.split().count("200"))


def wrk(plan):
    with tempfile.TemporaryDirectory(prefix="tallyd-wrk-") as here:
        script = pathlib.Path(here, "count.lua")
        script.write_text(WRK_SCRIPT)
        text = report("wrk", "-t", 1, "-c", plan.connections, "-d", f"{plan.seconds}s", "-s", script, plan.url)
    begun = field(text, "begun")
    return Sent(begun, field(text, "completed"), field(text, "errors"), begun)


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
