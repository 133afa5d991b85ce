"""groups of chunks, in order of the chunks -> the incidents of the whole stream.

Incidents that ended are kept as bytes, about half a kilobyte each, and come back where an alarm
arrives so late that it may belong to them. What comes out is therefore the same as if all alarms
had been there at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from vaewatch.scoring.incidents.grouping import BUCKETS, KEPT, Group, Rule
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.rule import Rules

_PACK = msgspec.msgpack.Encoder().encode
_UNPACK = msgspec.msgpack.Decoder(Incident).decode


class Ended(msgspec.Struct, array_like=True):
    """An incident that ended, as bytes, and the moments of its first and last alarm."""

    first: int
    last: int
    packed: bytes


def _last(ended: Ended) -> int:
    return ended.last


class Past(msgspec.Struct):
    """What is known of a stream so far. groups, ended: by name; these by their last moments."""

    records: int = 0
    buckets: int = 0  # with records, of all groups
    newest: int = 0  # bucket
    longest: int = 0  # from the first to the last alarm, of those that ended
    groups: dict[str, Group] = msgspec.field(default_factory=dict)
    ended: dict[str, list[Ended]] = msgspec.field(default_factory=dict)


@dataclass
class Stream:
    """Takes the groups of each chunk."""

    rules: Rules
    past: Past = field(default_factory=Past)

    @classmethod
    def resumed(cls, rules: Rules, content: bytes) -> Stream:
        """Continue from what `state` returned.

        Raises:
            msgspec.MsgspecError: it is damaged.
        """
        return cls(rules, msgspec.msgpack.decode(content, type=Past))

    def state(self) -> bytes:
        return msgspec.msgpack.encode(self.past)

    def take(self, groups: Mapping[str, Group]) -> None:
        for name, new in groups.items():
            rule = self.rules.of_group(name)
            group = self.past.groups.setdefault(name, Group())
            self.past.records += sum(new.records.values())
            self.past.buckets += len(new.records.keys() - group.records.keys())
            self.past.newest = max(self.past.newest, new.newest)
            if new.incidents and name in self.past.ended:
                self._bring_back(rule, group, new, self.past.ended[name])
            group.take(rule, new)
            if group.incidents:
                self._end(rule, name, group)

    def _bring_back(self, rule: Rule, group: Group, new: Group, ended: list[Ended]) -> None:
        """Let incidents that ended go on if an alarm lies within reach of them."""
        back = set[int]()
        for one in new.incidents:
            first, last = one.first - rule.gap, one.last + rule.gap
            start = bisect_left(ended, first, key=_last)
            end = bisect_right(ended, last + self.past.longest, key=_last)
            back.update(i for i in range(start, end) if ended[i].first <= last)
        if back:
            group.incidents += [_UNPACK(ended[i].packed) for i in sorted(back)]
            ended[:] = [one for i, one in enumerate(ended) if i not in back]

    def _end(self, rule: Rule, name: str, group: Group) -> None:
        late = group.newest * rule.width - KEPT // BUCKETS * rule.gap
        for one in group.forget(rule, late):
            self.past.longest = max(self.past.longest, one.last - one.first)
            found = self.past.ended.setdefault(name, [])
            insort(found, Ended(one.first, one.last, _PACK(one)), key=_last)

    @property
    def newest(self) -> int:
        """The moment at which the newest bucket begins."""
        return self.past.newest * self.rules.rule.width

    @property
    def by_chance_in_gap(self) -> float:
        """The false alarms among the normal records of a group in one merge gap."""
        rule, past = self.rules.rule, self.past
        records = past.records / max(past.buckets, 1) * rule.gap / rule.width
        return records * rule.expected_rate / rule.spacing

    def incidents(self) -> Iterator[tuple[Group, Incident]]:
        """Yield every incident, by its first moment, with the group that has its evidence."""
        order: list[tuple[int, str, Ended | Incident]] = [
            (one.first, name, one) for name, some in self.past.ended.items() for one in some
        ]
        for name, group in self.past.groups.items():
            order += [(one.first, name, one) for one in group.incidents]
        nothing = Group()
        for _, name, one in sorted(order, key=lambda item: item[:2]):
            if isinstance(one, Ended):
                yield nothing, _UNPACK(one.packed)
            else:
                yield self.past.groups[name], one
