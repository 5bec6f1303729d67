"""How scripts build and run the simulator of tests/simulator.rs.

Owns the cargo call, the environment that hands seeds over, and the reading of what a run prints. Must not
know what is simulated. A build never touches the target folder of the server: its profile is another.
"""

import collections, json, os, pathlib, re, shutil, subprocess, sys, tempfile

FIGURE = re.compile(r"^ *(\d+) ([a-z].*)$")
BROKEN = re.compile(r"^seed (\d+): ")
TRACE = re.compile(r"^seed \d+: .*?again with: \S+ --seed \d+$", re.M | re.S)
STEPS = re.compile(r"^(\d+) of \d+ steps; again with")


class Broken(Exception):
    """A promise was broken: the trace."""

    def __init__(self, trace):
        super().__init__(trace)
        lines = trace.splitlines()
        found = [BROKEN.match(line) for line in lines]
        self.seed = next((int(match[1]) for match in found if match), None)
        self.words = next((line.split(": ", 1)[1] for line in lines if BROKEN.match(line)), "")
        steps = [STEPS.match(line) for line in lines]
        self.steps = next((int(match[1]) for match in steps if match), None)


def target(root):
    """The folder that cargo builds in."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").resolve()


def environment(folder, profile):
    """What cargo is given: its own folder, and a profile that builds fast."""
    return os.environ | {
        "CARGO_TARGET_DIR": str(folder),
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
        "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
    } | profile


def build(root, folder, profile):
    """Builds the simulator of the tree at `root` in `folder`; returns its path."""
    if shutil.which("cargo") is None:
        sys.exit("simulator: cargo is missing: install rust, see README.md")
    command = ["cargo", "test", "--release", "--test", "simulator", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=root, env=environment(folder, profile), capture_output=True, text=True)
    if done.returncode != 0:
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rendered = [one["message"].get("rendered") or "" for one in messages if one.get("message")]
        sys.exit(f"simulator: the build failed\n{''.join(rendered)}{done.stderr}")
    for line in done.stdout.splitlines():
        one = json.loads(line) if line.startswith("{") else {}
        if one.get("executable") and one.get("target", {}).get("name") == "simulator":
            return one["executable"]
    sys.exit("simulator: cargo built no simulator")


class Run:
    """A process that goes through a range of seeds."""

    def __init__(self, binary, first, count, patience_s):
        self.first, self.count, self.patience_s = first, count, patience_s
        environment = os.environ | {"TALLYD_TEST_FIRST": str(first), "TALLYD_TEST_COUNT": str(count)}
        environment.pop("TALLYD_TEST_SEED", None)
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [binary, "--nocapture", "--test-threads=1"], env=environment, stdout=self.output, stderr=subprocess.STDOUT
        )

    def finish(self, figures):
        """Waits for it and adds its figures up; raises Broken."""
        try:
            status = self.process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise Broken(f"seeds from {self.first}: no end within {self.patience_s} s") from None
        self.output.seek(0)
        text = self.output.read()
        if status != 0:
            trace = TRACE.search(text)
            raise Broken(trace[0] if trace else text)
        counted = collections.Counter()
        for line in text.splitlines():
            if match := FIGURE.match(line):
                counted[match[2]] += int(match[1])
        if counted["seeds"] != self.count:
            raise Broken(f"{self.count} seeds from {self.first} were to run, {counted['seeds']} did\n{text}")
        figures.update(counted)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run(binary, first, count, patience_s):
    return Run(binary, first, count, patience_s)
