-- park: say why a waiting execution waits, or that it no longer does.
-- KEYS   see _prelude
-- ARGV   id, reason, message, outbox '1' (to be published again) or '', the attempt it waits for or '' for any,
--        '=' and the service that it waits for, or '' to leave what the record says
-- REPLY  {'ok', next attempt} | {'missing'} | {'stale', status, reason, attempt}
-- EFFECT record, entry (only where the reason changes), event; parked executions are neither in the outbox nor due

local id, reason = ARGV[1], ARGV[2]
local x = load()
if not x then return { 'missing' } end
if x.status ~= 'pending' or (ARGV[5] ~= '' and tonumber(ARGV[5]) ~= x.attempt + 1) then
  return { 'stale', x.status, x.reason, x.attempt }
end
if ARGV[6] ~= '' then govern(x, redis.call('HGET', RECORD, 'sv'), ARGV[6]) end
local at_us = now_us()
if x.reason ~= reason then
  local seq, text = entry(x, 'pending', reason, at_us, x.attempt, '', ARGV[3])
  redis.call('HSET', RECORD, 'rs', reason, 'msg', ARGV[3], 'ls', x.entries, seq, text)
  announce(id, x, 'pending', reason, x.attempt)
end
redis.call('ZREM', DUE, id)
if ARGV[4] == '1' then redis.call('ZADD', OUTBOX, int(at_us), id) else redis.call('ZREM', OUTBOX, id) end
return { 'ok', x.attempt + 1 }
