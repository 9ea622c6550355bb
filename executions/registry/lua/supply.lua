-- supply: give a waiting execution the message that it waited for (the end of what it was replaced by).
-- KEYS   see _prelude
-- ARGV   id, message, n, field and value ... (of the coming attempt), new function or ''
-- REPLY  {'ok', next attempt} | {'missing'} | {'stale', status, reason, attempt}: it does not wait
-- EFFECT record, entry, index of functions, event; the outbox holds it

local id, message = ARGV[1], ARGV[2]
local x = load()
if not x then return { 'missing' } end
if x.status ~= 'pending' or x.reason ~= 'waiting' then return { 'stale', x.status, x.reason, x.attempt } end
local coming, last = take(3)
local at_us = now_us()
local seq, text = entry(x, 'pending', 'queued', at_us, x.attempt, '', message)
redis.call('HSET', RECORD, 'rs', 'queued', 'msg', message, 'ls', x.entries, seq, text, unpack(coming))
if ARGV[last] ~= '' and ARGV[last] ~= x.fn then
  redis.call('HSET', RECORD, 'fn', ARGV[last])
  move('function', x.fn, ARGV[last], x.number)
end
redis.call('ZADD', OUTBOX, int(at_us), id)
announce(id, x, 'pending', 'queued', x.attempt)
return { 'ok', x.attempt + 1 }
