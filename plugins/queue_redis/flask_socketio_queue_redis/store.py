"""Redis and Valkey as a store: values are strings, a stream is a list and a hash that counts."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar, cast

import redis

from flask_socketio_core.contracts import Position, Store, StoreCapabilities, Stretch, stores
from flask_socketio_core.errors import StoreClosed

from .base import refuses
from .client import SETTINGS, ClientFactory, close

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_socketio_core.contracts import AsyncMode

MAX_VALUE_BYTES = 64 * 1024 * 1024
"""As of a message in a stream; Redis itself takes strings of 512 MB, and is busy with nothing else meanwhile."""

#: KEYS: the key. ARGV: the value, milliseconds to live.
ADD = """
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""

# A stream is a hash with its epoch `e`, the number `n` of its newest value and the bytes `b` of all that are kept; a
# list has the values, each behind the time at which it ends, in milliseconds by Redis's clock. Both live equally long.
TRIM = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function trim(length, bytes, size, most)
  local before = length
  while length > 0 do
    local oldest = redis.call('LINDEX', KEYS[2], 0)
    local colon = string.find(oldest, ':', 1, true)
    if length <= size and bytes <= most and tonumber(string.sub(oldest, 1, colon - 1)) > now then break end
    redis.call('LPOP', KEYS[2])
    length, bytes = length - 1, bytes - (#oldest - colon)
  end
  if length < before then redis.call('HSET', KEYS[1], 'b', string.format('%.0f', bytes)) end
  return length
end
"""

#: KEYS: hash and list. ARGV: the value, milliseconds to live, most values, most bytes, the epoch if it is the first.
APPEND = (
    TRIM
    + """
local epoch = redis.call('HGET', KEYS[1], 'e')
if not epoch then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', ARGV[5])
  epoch = ARGV[5]
end
local number = redis.call('HINCRBY', KEYS[1], 'n', 1)
local length = redis.call('RPUSH', KEYS[2], string.format('%.0f', now + ARGV[2]) .. ':' .. ARGV[1])
if length == 1 then redis.call('HSET', KEYS[1], 'b', 0) end
local bytes = redis.call('HINCRBY', KEYS[1], 'b', #ARGV[1])
trim(length, bytes, tonumber(ARGV[3]), tonumber(ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {epoch, number}
"""
)

#: KEYS: hash and list. ARGV: most values to return, the epoch and number to begin behind, or an empty epoch.
READ = (
    TRIM
    + """
local found = redis.call('HMGET', KEYS[1], 'e', 'n', 'b')
if not found[1] then return {} end
local top = tonumber(found[2])
local kept = trim(redis.call('LLEN', KEYS[2]), tonumber(found[3]), math.huge, math.huge)
local oldest, wanted = top - kept + 1, top - kept + 1
local limit, complete = tonumber(ARGV[1]), 0
if ARGV[2] == '' then
  wanted = math.max(top - limit + 1, 1)
  complete = 1
elseif ARGV[2] == found[1] and tonumber(ARGV[3]) <= top then
  wanted = ARGV[3] + 1
  complete = 1
end
if wanted < oldest then
  wanted = oldest
  complete = 0
end
local start = wanted - oldest
return {found[1], top, wanted, complete, redis.call('LRANGE', KEYS[2], start, start + limit - 1)}
"""
)


class RedisStore(Store):
    """Keep values in Redis, for all processes with the same URL and channel.

    Each method is one command or one script, so that what several servers do at once has one order. A lost connection
    is tried again once, for connections that died while nobody used them.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        durable=True, max_value_bytes=MAX_VALUE_BYTES
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self._client: Any = ClientFactory(url, options, SETTINGS, where="redis", words=stores).publisher()
        self._scripts = {text: self._client.register_script(text) for text in (ADD, APPEND, READ)}
        self._our_errors = stores.ClientErrors("Redis", url, redis.RedisError, OSError, refuses=refuses)
        self._closed = False

    def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        name = self._key(key)
        stores.check_size(value, MAX_VALUE_BYTES, "Redis")
        with self._our_errors:
            self._client.set(name, value, px=_milliseconds(ttl_s))

    def take(self, key: str) -> bytes | None:
        name = self._key(key)
        with self._our_errors:  # GETDEL is not in versions before 6.2
            pipeline = self._client.pipeline(transaction=True)
            found, _ = pipeline.get(name).delete(name).execute()
        return cast("bytes | None", found)

    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        name = self._key(key)
        stores.check_size(value, MAX_VALUE_BYTES, "Redis")
        found = self._run(ADD, [name], [value, _milliseconds(ttl_s)])
        return None if found == value else cast("bytes | None", found)

    def append(self, stream: str, value: bytes, *, size: int, max_bytes: int, ttl_s: float) -> Position:
        names = self._stream(stream)
        stores.check_size(value, MAX_VALUE_BYTES, "Redis")
        arguments = [value, _milliseconds(ttl_s), size, max_bytes, uuid.uuid4().hex[:16]]
        epoch, number = self._run(APPEND, names, arguments)
        return Position(epoch.decode(), number)

    def read(self, stream: str, *, after: Position | None = None, limit: int) -> Stretch:
        arguments = [limit, "", 0] if after is None else [limit, after.epoch or "-", after.number]
        found = self._run(READ, self._stream(stream), arguments)
        if not found:
            return Stretch(complete=after is None)
        epoch, top, first, complete, kept = found
        values = tuple(value.partition(b":")[2] for value in kept)
        return Stretch(epoch=epoch.decode(), first=first, values=values, top=top, complete=bool(complete))

    def ping(self) -> None:
        self._check_open()
        with self._our_errors:
            self._client.ping()

    def close(self) -> None:
        self._closed = True
        close(self._client)

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        with self._our_errors:
            return self._scripts[script](keys=keys, args=arguments)

    def _key(self, name: str) -> str:
        self._check_open()
        return f"{self.channel}.store:{stores.check_name(name)}"

    def _stream(self, name: str) -> list[str]:
        self._check_open()
        stores.check_name(name)
        return [f"{self.channel}.store-stream:{name}", f"{self.channel}.store-values:{name}"]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the Redis store was closed")


def _milliseconds(ttl_s: float) -> int:
    return max(int(ttl_s * 1000), 1)
