"""What a count must be: a ledger of hits, each with the boot times between which it was stamped.

Owns the documented rule of time (DESIGN section 4), written from there and not from src/journal/boots.rs: in
the same boot, boot time alone decides, and so it does under another id where both clocks agree; else the wall
clock tells a reboot from another machine, boot by boot, and what it says is in doubt. Must not know of servers. Invariant: every bound holds
whenever within its span a hit was stamped; where the two bounds are equal, the count is known exactly.
"""

import collections, time

# From `low` to `high` of something, in nanoseconds or in hits.
Span = collections.namedtuple("Span", "low high")
# When a hit was stamped, by this host's boot time; what its boot's line and its wall clock add to that.
Hit = collections.namedtuple("Hit", "span line_ns wall_ns boot")

# Two clocks are read one after the other: what a busy machine may put between.
SLACK_NS = 5_000_000
# The first release: a wall clock that shows less was not set. How far two pairs of clocks that are the same may differ.
RELEASE_NS, AGREED_NS = 1_793_491_200 * 10**9, 10**9


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def true_wall_ns():
    """What this host's wall clock adds to its boot time."""
    readings = [(now_ns(), time.time_ns(), now_ns()) for _ in range(5)]
    before, wall, after = min(readings, key=lambda reading: reading[2] - reading[0])
    return wall - (before + after) // 2


def moved(span, by_ns):
    return Span(span.low + by_ns, span.high + by_ns)


def place(hits, now, line_ns, wall_ns, boot):
    """Where the hits, oldest first, lie on the line of the running `boot`, at `now` by the host's boot time; and
    until when, on that line, they are in doubt: none where it is not.
    """
    placed, doubt = [], None
    newer, newer_wall, newer_boot = moved(now, line_ns), moved(now, wall_ns), boot
    start = newer
    for hit in reversed(hits):
        own, own_wall = moved(hit.span, hit.line_ns), moved(hit.span, hit.wall_ns)
        age, least = between(hit.boot == newer_boot, own, own_wall, newer, newer_wall)
        if least is not None:
            until = Span(start.low - least.high, start.high - least.low)
            doubt = until if doubt is None else Span(max(doubt.low, until.low), max(doubt.high, until.high))
        start = Span(start.low - age.high, start.high - age.low)
        placed.append(start)
        newer, newer_wall, newer_boot = own, own_wall, hit.boot
    return placed[::-1], doubt


def between(is_same_id, own, own_wall, newer, newer_wall):
    """How much later `newer` is, and how much it is at the least; nothing if there is no doubt."""
    # Within one line the order is known, however near to each other two hits are.
    line = Span(newer.low - own.high, newer.high - own.low)
    goes_on = line.high >= 0
    line = Span(max(line.low, 0), max(line.high, 0))
    gap = Span(newer_wall.low - own_wall.high - SLACK_NS, newer_wall.high - own_wall.low + SLACK_NS)
    wall = Span(max(gap.low, 0), max(gap.high, 0))
    are_set = [then.low >= RELEASE_NS for then in (own_wall, newer_wall)]
    nothing = Span(0, 0)
    if is_same_id:
        return (line, None) if goes_on else (wall if all(are_set) else nothing, nothing)
    before = line if goes_on else newer
    if all(are_set):
        if goes_on and abs(gap.low + gap.high - line.low - line.high) / 2 <= AGREED_NS + line.high / 2000:
            return line, None
        if wall.low + wall.high >= newer.low + newer.high:
            return wall, before
        return (Span(min(wall.low, line.low), min(wall.high, line.high)) if goes_on else wall), nothing
    if any(are_set):
        return newer, before
    return Span(max(wall.low, newer.low), max(wall.high, newer.high)), before


def count(stamps, now, window_ns):
    """How many stamps lie in the window that ends at `now`; none of them is later."""
    surely = sum(stamp.low > now.high - window_ns for stamp in stamps)
    possibly = sum(stamp.high > now.low - window_ns for stamp in stamps)
    return Span(surely, possibly)


def count_among(spans, one, window_ns):
    """The tally of `one` of many concurrent hits, itself among them."""
    surely = sum(other.high < one.low and other.low > one.high - window_ns for other in spans)
    possibly = sum(other.low <= one.high and other.high > one.low - window_ns for other in spans)
    return Span(surely + 1, possibly)
