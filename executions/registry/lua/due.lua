-- due: take what is owed to an execution whose time has come: its message, which the caller sends now.
-- KEYS   see _prelude
-- ARGV   id, seconds until it is due again (unless due_sent.lua says that it was sent), retention_s
-- REPLY  {'ok', the attempt that the message is for, due again at} | {'expired'} | {'missing'}
--        | {'ended', due again at}: those who wait for it may not have been told
--        | {'stale', status, reason, attempt}: it is not due, or not yet
-- EFFECT a scheduled one is queued: record, entry, event; the outbox holds it. An expired one is closed.

local id, again_s, retention_s = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local x = load()
if not x then
  redis.call('ZREM', DUE, id)
  return { 'missing' }
end
local at_us = now_us()
local since = tonumber(redis.call('ZSCORE', DUE, id) or '')
if not since or since > at_us then return { 'stale', x.status, x.reason, x.attempt } end
local again_us = int(at_us + again_s * 1000000)
if x.status ~= 'pending' then
  if x.status ~= 'running' and is_awaited(x, x.status) then
    redis.call('ZADD', DUE, again_us, id)
    return { 'ended', again_us }
  end
  redis.call('ZREM', DUE, id)
  return { 'stale', x.status, x.reason, x.attempt }
end
local expires = redis.call('HGET', RECORD, 'ex')
if expires and tonumber(expires) <= at_us then
  expire(id, x, 'expired before its time came', retention_s)
  return { 'expired' }
end
if x.reason == 'scheduled' then
  local seq, text = entry(x, 'pending', 'queued', at_us, x.attempt)
  redis.call('HSET', RECORD, 'rs', 'queued', 'msg', '', 'ls', x.entries, seq, text)
  announce(id, x, 'pending', 'queued', x.attempt)
end
redis.call('HSET', RECORD, 'qd', int(at_us))
redis.call('ZADD', OUTBOX, int(at_us), id)
redis.call('ZADD', DUE, again_us, id)
return { 'ok', x.attempt + 1, again_us }
