"""A headless Chromium of one's own, driven through the DevTools protocol; for scripts/page.

Owns the browser's process and the conversation with it: JSON messages, each ended by a zero byte, on
two pipes that the browser finds as descriptors 3 and 4 (`--remote-debugging-pipe`), so that no port is
opened and no websocket is needed. It keeps what the page says (console, exceptions, violations of its
policy) and what it asks for, in the order of the events.

Must not know which page it shows. Nothing waits without a bound, and the browser reaches the loopback only.
"""

import base64, collections, contextlib, json, os, pathlib, select, shutil, signal, subprocess, sys, tempfile, time

from tallyd import Failure

REPLY_S = 15  # bound on every answer of the browser
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
FLAGS = [
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none",
    "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
# Makes the two pipes 3 and 4. Whatever their numbers were, three copies lead past both.
LAUNCH = """import os, sys
there, back = (os.dup(os.dup(os.dup(int(word)))) for word in sys.argv[1:3])
os.dup2(there, 3), os.dup2(back, 4)
os.execvp(sys.argv[3], sys.argv[3:])"""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
# Reports every violation of the page's policy, from before its first line.
WATCH = "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"


def find():
    """The browser's command."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise Failure("chromium is missing: apt-get install chromium")


class Page:
    """A browser with one page. As a context manager it is ended and its directory removed."""

    def __init__(self):
        self.here = pathlib.Path(tempfile.mkdtemp(prefix="chromium-"))
        self.last, self.received, self.replies, self.session = 0, b"", {}, None
        self.complaints, self.open, self.open_max, self.answers = [], {}, 0, collections.deque(maxlen=8)
        theirs_in, self.to = os.pipe()
        self.back, theirs_out = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self.here}", *(["--no-sandbox"] if os.getuid() == 0 else []), "about:blank"]
        command = [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), find(), *flags]
        with open(self.here / "log", "w") as log:
            self.process = subprocess.Popen(
                command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        os.close(theirs_in), os.close(theirs_out)
        try:
            target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"]:
                self.call(f"{domain}.enable")
            self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        except (Failure, StopIteration) as cause:
            said = (self.here / "log").read_text(errors="replace").strip()[-500:]
            self.close()
            raise Failure(f"chromium does not start: {cause}: {said}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the browser: politely, then its process group, which is of its own."""
        with contextlib.suppress(Failure, OSError):
            self.session = None
            self.call("Browser.close")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.to), os.close(self.back)
        shutil.rmtree(self.here, ignore_errors=True)

    def call(self, method, **parameters):
        """One command and its result."""
        self.last += 1
        number, until = self.last, time.monotonic() + REPLY_S
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self.to, rest) :]
        while number not in self.replies:
            if time.monotonic() > until or not self.pump(until - time.monotonic()):
                raise Failure(f"{method}: no answer from chromium")
        reply = self.replies.pop(number)
        if "error" in reply:
            raise Failure(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def pump(self, wait_s=0.0):
        """Takes in what the browser has to say; false once it has gone."""
        while select.select([self.back], [], [], max(wait_s, 0))[0]:
            more = os.read(self.back, 1 << 20)
            if not more:
                return False
            *messages, self.received = (self.received + more).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.replies[message["id"]] = message
                else:
                    self.see(message["method"], message["params"])
            wait_s = 0
        return True

    def watch(self, seconds):
        """Takes in what the browser has to say for so long."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            if not self.pump(left_s):
                raise Failure("chromium has gone")

    def see(self, method, p):
        """Keeps the events that tell how the page is."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(p["exceptionDetails"].get("exception", {}).get("description") or p["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(word.get("value", word.get("description"))) for word in p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.complaints.append(p["entry"]["text"])
        elif method == "Network.requestWillBeSent" and p.get("type") == "Fetch":
            self.open[p["requestId"]] = p["request"]["url"]
            self.open_max = max(self.open_max, len(self.open))
        elif method in ("Network.loadingFinished", "Network.loadingFailed"):
            url = self.open.pop(p["requestId"], None)
            if url and method == "Network.loadingFinished":
                self.answers.append((url, p["requestId"]))

    def answer(self, part):
        """The address and the JSON of the newest answer to the page that has `part` in it."""
        for url, request in reversed(self.answers):
            body = self.call("Network.getResponseBody", requestId=request)["body"]
            if part in body:
                return url, json.loads(body)
        raise Failure(f"no answer to the page has {part} in it")

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def js(self, expression):
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise Failure(f"{expression[:80]}: {found['exceptionDetails'].get('exception', {}).get('description')}")
        return found["result"].get("value")

    def until(self, expression, patience_s=10):
        """Seconds until an expression held; nothing if it did not in time."""
        began = time.monotonic()
        while not self.js(expression):
            if time.monotonic() - began > patience_s:
                return None
            self.pump(0.05)
        return time.monotonic() - began

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).textContent.trim()")

    def press(self, *keys):
        """Keys, one after the other, as a keyboard sends them."""
        for key in keys:
            text = {"Enter": "\r", " ": " "}.get(key)
            common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def look(self, width, height, dark=False, scale=1, still=False):
        """The screen, and what its owner prefers."""
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce" if still else "no-preference"}
        self.call("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wishes.items()])
        # Two frames later everything has its new place.
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def shot(self, path):
        """A picture of the screen; its bytes."""
        picture = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        pathlib.Path(path).write_bytes(picture)
        return len(picture)
