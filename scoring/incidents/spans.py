"""moments of alarms -> spans, in order: those no further apart than a gap are one."""

from __future__ import annotations

from bisect import bisect_left

Span = tuple[int, int]  # the moments of a first and a last alarm


def are_near(some: list[Span], others: list[Span], gap: int) -> bool:
    """Return whether any two spans of two lists are no further apart than the gap."""
    few, many = sorted([some, others], key=len)
    for start, end in few:
        at = bisect_left(many, start - gap, key=lambda span: span[1])  # the first that may reach
        if at < len(many) and many[at][0] <= end + gap:
            return True
    return False


def united(spans: list[Span], gap: int) -> list[Span]:
    """Join spans, in order, that are no further apart than the gap."""
    found = spans[:1]
    for start, end in spans[1:]:
        if start <= found[-1][1] + gap:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def add_moment(spans: list[Span], moment: int, gap: int) -> int:
    """Put the moment of an alarm into spans that are in order; return how many more there are:
    fewer, where it lies between two and makes them one.
    """
    first = bisect_left(spans, moment - gap, key=lambda span: span[1])
    last = first
    while last < len(spans) and spans[last][0] <= moment + gap:
        last += 1
    joined = spans[first:last]
    start = min([moment, *(span[0] for span in joined)])
    end = max([moment, *(span[1] for span in joined)])
    spans[first:last] = [(start, end)]
    return 1 - len(joined)
