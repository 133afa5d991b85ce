"""The script that a Redis runs: it gives the records before new ones, and takes these in.

Redis runs one script at a time. So of two workers that post records of one entity, the second sees
the records of the first; none is lost or taken twice, and the order in which Redis runs them is
that of the history. A record no newer than the last one of its entity is left out, and the least
recently seen entities leave once all records are taken in, as `vaewatch.scoring.series.history`
does.

A record is stored as two moments, that of the record before it and its own, and then its features.
Moments are 20 digits, so that text order is their order.
"""

from __future__ import annotations

DIGITS = 20
OFFSET = 2**63  # makes moments positive

# KEYS: a sorted set of entities by when they were last seen, in microseconds, and the list of each
# entity, that seen last at the end.
# ARGV: records kept, seconds kept, entities kept (-1: all, since more are to come); for each list,
# how many records come, and of each the moment and the features.
# The alarms of an entity lie under a key of their own, which is made of that of its records.
ALARMS = """
local function alarms(key)
  local prefix = #KEYS[1] - 7
  return string.sub(KEYS[1], 1, prefix) .. ':alarms:' .. string.sub(key, prefix + 5)
end
"""
TAKE = (
    ALARMS
    + """
local kept, ttl, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local pasts, at = {}, 4
for i = 2, #KEYS do
  local key = KEYS[i]
  local past = redis.call('LRANGE', key, -kept, -1)
  local last = '00000000000000000000'
  if #past > 0 then last = string.sub(past[#past], 21, 40) end
  local come = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, come do
    local moment = ARGV[at]
    if moment > last then
      redis.call('RPUSH', key, last .. moment .. ARGV[at + 1])
      last = moment
    end
    at = at + 2
  end
  redis.call('LTRIM', key, -kept, -1)
  redis.call('EXPIRE', key, ttl)
  redis.call('ZADD', KEYS[1], string.format('%.2f', now + i / 4), key)
  pasts[i - 1] = {past, redis.call('GET', alarms(key))}
end
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ttl * 1000000))
local evicted = redis.call('ZCARD', KEYS[1]) - most
if most >= 0 and evicted > 0 then
  local gone = redis.call('ZPOPMIN', KEYS[1], evicted)
  for i = 1, #gone, 2 do redis.call('DEL', gone[i], alarms(gone[i])) end
else
  evicted = 0
end
return {evicted, redis.call('ZCARD', KEYS[1]), pasts}
"""
)

# KEYS: the sorted set. Forgets all of its entities.
FORGET = (
    ALARMS
    + """
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('DEL', key, alarms(key))
end
return redis.call('DEL', KEYS[1])
"""
)


def text_of_moment(moment: int) -> str:
    """Return a moment, in microseconds since 1970, as it is stored."""
    return f"{moment + OFFSET:0{DIGITS}d}"


def moment_of_text(text: bytes) -> int | None:
    """Return a moment; None for that of a record that is not there.

    Raises:
        ValueError: it is no moment.
    """
    number = int(text)
    return None if number == 0 else number - OFFSET
