"""What a count must be: a ledger of hits, each with the boot times between which it was stamped.

Owns the documented rule of time (DESIGN section 4), written from there and not from src/journal/boots.rs: in
the same boot, boot time alone decides; what an earlier boot left is as old as the wall clock says and at
least as old as this boot has run, boot by boot. Must not know of servers. Invariant: every bound holds
whenever within its span a hit was stamped; where the two bounds are equal, the count is known exactly.
"""

import collections, time

# From `low` to `high` of something, in nanoseconds or in hits.
Span = collections.namedtuple("Span", "low high")
# When a hit was stamped, by this host's boot time; what its boot's line and its wall clock add to that.
Hit = collections.namedtuple("Hit", "span line_ns wall_ns boot")

# Two clocks are read one after the other: what a busy machine may put between.
SLACK_NS = 5_000_000


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
    whether the wall clock had to be asked.
    """
    placed, newer, is_asked = [], None, False
    uptime = start = moved(now, line_ns)
    wall, shift = moved(now, wall_ns), Span(0, 0)
    for hit in reversed(hits):
        own, own_wall = moved(hit.span, hit.line_ns), moved(hit.span, hit.wall_ns)
        is_same_line = hit.boot == (newer or boot) and own.low <= uptime.high
        if not is_same_line:
            is_asked = True
            age = Span(
                max(wall.low - own_wall.high - SLACK_NS, uptime.low, 0),
                max(wall.high - own_wall.low + SLACK_NS, uptime.high, 0),
            )
            start = Span(start.low - age.high, start.high - age.low)
            shift = Span(start.low - own.high, start.high - own.low)
        else:
            start = Span(own.low + shift.low, own.high + shift.high)
        placed.append(start)
        uptime, wall, newer = own, own_wall, hit.boot
    return placed[::-1], is_asked


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
