"""What a script's surroundings must not break: the encoding of its output, and proxies of its requests.

Importing this makes standard output and error take any character: what their encoding cannot write comes out in
ASCII. Must not know what is printed. Invariant: no print of a script ends in an encoding error.
"""

import codecs, os, re, sys

ASCII = {"±": "+-", "×": "x", "µ": "u", "█": "#", "▏": ".", "…": "...", "–": "-", "·": "-"}
PROXIES = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}


def degraded(error):
    """What stands for characters that an encoding has no bytes for."""
    text = error.object[error.start:error.end]
    return "".join(ASCII.get(letter, "?") for letter in text), error.end


codecs.register_error("degraded", degraded)
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="degraded")


def printable(text):
    """A text in one line, with escapes for what a terminal would act on."""
    acted_on = r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    return re.sub(acted_on, lambda found: f"\\u{{{ord(found[0]):x}}}", text)


def direct():
    """The environment of a process whose requests must go to their server and to no proxy."""
    return {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
