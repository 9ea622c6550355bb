-- supply: give a waiting execution the message that it waited for (the end of what it was replaced by).
-- KEYS   see _prelude
-- ARGV   id, message, n, field and value ... (of the coming attempt), new function or ''
-- REPLY  {'ok', next attempt, eta where it lies ahead} | {'missing'} | {'stale', status, reason, attempt}: it does not wait
-- EFFECT record, entry, index of functions, event; the outbox holds it, or due where its time has to come first

local id, message = ARGV[1], ARGV[2]
local x = load()
if not x then return { 'missing' } end
if x.status ~= 'pending' or x.reason ~= 'waiting' then return { 'stale', x.status, x.reason, x.attempt } end
local coming, last = take(3)
local at_us = now_us()
local eta = eta_of(coming, at_us)
local reason = eta and 'scheduled' or 'queued'
local seq, text = entry(x, 'pending', reason, at_us, x.attempt, '', message)
redis.call('HSET', RECORD, 'rs', reason, 'msg', message, 'ls', x.entries, seq, text, unpack(coming))
if ARGV[last] ~= '' and ARGV[last] ~= x.fn then
  redis.call('HSET', RECORD, 'fn', ARGV[last])
  move('function', x.fn, ARGV[last], x.number)
end
await(id, at_us, eta, coming)
announce(id, x, 'pending', reason, x.attempt)
return { 'ok', x.attempt + 1, eta and int(eta) }
