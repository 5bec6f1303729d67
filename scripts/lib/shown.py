"""What the operator's page shows, beside what the server says; for scripts/page.

Owns the server under test, its hits, and the comparison of every figure and every bar with the server's
own answers, which are asked for before and after, so that nothing is compared with another instant.

Must not know how the page looks or is used. Invariant: a comparison that could not be made fails.
"""

import contextlib, http.client, json, math, random, re, threading, time

from tallyd import GET, Failure, Tallyd, drain, statuses

SEED = 7
FIGURES = ["tally", "total", "recovered", "refused", "damaged", "corrected"]
TEXTS = f"Object.fromEntries({json.dumps([*FIGURES, 'at', 'health', 'now', 'reading'])}.map(id => [id, document.getElementById(id).textContent]))"
BARS = """(() => {
  const y = [...document.querySelectorAll('#plot .up line')].map(line => +line.getAttribute('y1'));
  const scale = [...document.querySelectorAll('#plot .up text')].map(text => +text.textContent.replaceAll(',', ''));
  const bars = [...document.querySelectorAll('#plot .bars rect:not(.picked)')];
  return { high: y[2] - y[0], top: scale[0], bars: bars.map(bar => +bar.getAttribute('height')) };
})()"""
ROWS = "[...document.querySelectorAll('tbody tr')].map(row => [row.cells[0].textContent, +row.cells[1].textContent.replaceAll(',', '')])"


class Bench:
    """A server, the page that shows it, and the verdicts."""

    def __init__(self, binary, page, here):
        self.binary, self.page, self.here, self.failed = binary, page, here, 0
        self.server = None

    def start(self, window="1h", retain="3h", operator="127.0.0.1:0"):
        self.server = Tallyd(self.binary, "pool", "--retain", retain, "--operator", operator, here=self.here, window=window)
        if not self.server.operator_port:
            raise Failure("tallyd names no operator's address in its first line")

    def verdict(self, what, holds, found):
        print(f"{'ok  ' if holds else 'FAIL'}  {what:<58}  {found}", flush=True)
        self.failed += not holds

    def get(self, path):
        """An operator's answer: status, headers, body."""
        client = http.client.HTTPConnection("127.0.0.1", self.server.operator_port, timeout=5)
        with contextlib.closing(client):
            client.request("GET", path)
            reply = client.getresponse()
            return reply.status, reply.headers, reply.read()

    def ask(self, path):
        status, _, body = self.get(path)
        if status != 200:
            raise Failure(f"{path}: {status} {body[:200]}")
        return json.loads(body)

    def hit(self, count, status=200):
        """So many hits, all answered with `status`; in pieces, since the server reads no further while it is not read."""
        answered = 0
        while answered < count:
            with self.server.connect(5) as client:
                client.sendall(GET * min(100, count - answered))
                received, until = b"", time.monotonic() + 5
                while len(statuses(received)) < min(100, count - answered) and time.monotonic() < until:
                    more, ended = drain(client, 0.02)
                    received += more
                    if ended:
                        break
            found = statuses(received)
            if not found or set(found) != {status}:
                raise Failure(f"hits were answered {sorted(set(found))} and not {status}")
            answered += len(found)

    def fresh(self, patience_s=10):
        """Waits for a page that is newer than now; what it shows, between two answers of the server."""
        before = self.ask("/status?format=json")
        if self.page.until(f"document.getElementById('at').dateTime > '{before['at']}'", patience_s) is None:
            raise Failure(f"the page shows nothing newer than {before['at']}: {self.page.text('#health')}: {self.page.text('#notice')}")
        shown = self.page.js(TEXTS)
        return before, shown, self.ask("/status?format=json")


def number(text):
    return int(re.sub(r"\D", "", text) or -1)


def figures_equal_the_servers(bench, when):
    before, shown, after = bench.fresh()
    wrong = [f"{name} {shown[name]}, server {after[name]}" for name in FIGURES if not before[name] <= number(shown[name]) <= after[name]]
    quiet = all(before[name] == after[name] for name in FIGURES)
    title = bench.page.js("document.title")
    if not re.fullmatch(r"[\d,]+ · tallyd", title):
        wrong.append(f"title {title}")
    in_time = before["at"] < shown["at"] <= after["at"]
    found = f"tally {shown['tally']}, total {shown['total']}, recovered {shown['recovered']}, refused {shown['refused']}"
    bench.verdict(f"figures equal the server's, {when}", not wrong and in_time, "; ".join(wrong) or found)
    return quiet


@contextlib.contextmanager
def loading(bench):
    """Hits all the time, with a swell, bursts and a lull, as from a few hundred clients; seeded."""
    over, trouble = threading.Event(), []

    def run():
        chance, began = random.Random(SEED), time.monotonic()
        try:
            with bench.server.connect(5) as client:
                while not over.wait(0.05):
                    at = time.monotonic() - began
                    level = 24 + 9 * math.sin(at / 7) + 5 * math.sin(at / 2.3) + chance.gauss(0, 2)
                    level = level + 22 if at % 41 > 36 else 3 + level / 9 if 13 < at % 47 < 17 else level
                    client.sendall(GET * max(1, round(level)))
                    drain(client)
        except OSError as cause:
            trouble.append(cause)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if trouble:
        raise Failure(f"the load was cut short: {trouble[0]}")


@contextlib.contextmanager
def at_rest(bench):
    """The page while it is paused: the rows of its table, oldest first, and the answer that they are made of."""
    page = bench.page
    bench.fresh()
    page.js("document.getElementById('pause').click()")
    page.js("document.getElementById('table').open = true")
    if page.until("document.querySelector('tbody tr') !== null", 2) is None:
        raise Failure("the table stays empty")
    # What was under way when the pause began is not shown, so the last answer may be another one.
    rows, to = page.js(ROWS)[::-1], re.search(r"as of (\S+Z)", page.text("#caption"))[1]
    yield rows, page.answer(f'"to":"{to}"')[1]
    page.js("document.getElementById('table').open = false; document.getElementById('pause').click()")


def bars_equal_history(bench, when):
    """What is drawn and what the table says, against the answer both are made of and the server's own counts."""
    with at_rest(bench) as (rows, answer):
        drawn, shown = bench.page.js(BARS), bench.page.js(TEXTS)
    counts, step_s = answer["counts"], int(answer["step_ns"]) / 1e9
    want = [hits / step_s / drawn["top"] * drawn["high"] for hits in counts]
    off = max((abs(a - b) for a, b in zip(want, drawn["bars"])), default=99)
    holds = len(counts) == len(drawn["bars"]) and off <= 0.6 and drawn["top"] >= max(counts) / step_s > drawn["top"] / 3
    bench.verdict(f"bars are as high as /history says, {when}", holds, f"{len(want)} bars of {step_s:g} s, {off:.2f} px off")
    bench.verdict(f"the table has the same numbers, {when}", [hits for _, hits in rows] == counts, f"{sum(counts)} hits")
    # The same spans once more, one by one, by another question: all that have hits, and those beside them.
    near = [i for i in range(2, len(rows)) if sum(counts[max(i - 2, 0) : i + 3])]
    ask = lambda i: bench.ask(f"/count?from={rows[i - 1][0]}&to={rows[i][0]}&format=json")["count"]
    wrong = [f"{rows[i]}: {found}" for i in near if (found := ask(i)) != counts[i]]
    bench.verdict(f"the server counts the same between a bar's ends, {when}", near and not wrong, wrong or f"{len(near)} bars")
    peak, named = max(counts) / step_s, float((re.findall(r"peak ([\d,.]+) /s", shown["reading"]) or ["-1"])[0].replace(",", ""))
    bench.verdict(f"the peak is named, {when}", abs(peak - named) <= (0.5 if peak >= 100 else 0.051 if peak >= 10 else peak / 20), shown["reading"])
    if step_s == 1:
        over = counts[:-1] if answer["running"] else counts
        bench.verdict(f"the rate is that of the last whole second, {when}", shown["now"] == f"{over[-1]:,} /s", shown["now"])
