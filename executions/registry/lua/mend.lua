-- mend: make what points at an execution agree with its record (doctor --invariants --repair).
-- KEYS   see _prelude
-- ARGV   id, number, length of the status log that the caller saw, retention_s, n, term and '1' or '' ...,
--        score among the started, the finished and the durations ('' for none)
-- REPLY  {'ok'} | {'stale'}: it has moved on since
-- EFFECT bits, times, outbox and stop entry and life follow the record, which is not written. Counts are not
--        touched: recount.lua sets them. Without a record, its entries in outbox, due and stops go.

local id, number = ARGV[1], tonumber(ARGV[2])
local x = load()
if not x then
  redis.call('ZREM', OUTBOX, id)
  redis.call('ZREM', DUE, id)
  redis.call('HDEL', STOPS, id)
  return { 'ok' }
end
if x.number ~= number or x.entries ~= tonumber(ARGV[3]) then return { 'stale' } end
local bits, after = take(5)
for i = 1, #bits, 2 do mark(bits[i], number, bits[i + 1] == '1') end
local started, finished, duration = ARGV[after], ARGV[after + 1], ARGV[after + 2]
redis.call('ZREM', STARTED, number)
redis.call('ZREM', FINISHED, number)
redis.call('ZREM', DURATION, number)
if started ~= '' then redis.call('ZADD', STARTED, started, number) end
if finished ~= '' then redis.call('ZADD', FINISHED, finished, number) end
if duration ~= '' then redis.call('ZADD', DURATION, duration, number) end
if x.status ~= 'pending' or x.reason == 'waiting' then redis.call('ZREM', OUTBOX, id) end
local stop = redis.call('HGET', STOPS, id)
if stop and (x.status ~= 'running' or cjson.decode(stop).attempt ~= x.attempt) then redis.call('HDEL', STOPS, id) end
local life = redis.call('TTL', RECORD)
if x.status == 'pending' or x.status == 'running' then
  redis.call('PERSIST', RECORD)
elseif life < 0 then
  redis.call('EXPIRE', RECORD, ARGV[4])
end
return { 'ok' }
