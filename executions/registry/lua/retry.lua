-- retry: end the running attempt and wait for the next (retry, rerun on reset, rescue, replace).
-- KEYS   see _prelude; 11 is the log of the attempt
-- ARGV   id, attempt, reason, principal, message, n, field and value ... (what is known of the attempt's end),
--        m, field and value ... (of the next attempt), new function or '',
--        '' or, where the attempt ended by a lost worker, how many such ends are one too many
-- REPLY  {'ok', next attempt, eta where it lies ahead} | {'missing'} | {'stale', status, reason, attempt}
--        | {'stop'}: a stop was asked, end it | {'poison', ends by a lost worker}: it kills whatever runs it, end it
-- EFFECT the attempt is put aside, the record is pending again, the outbox holds it, or due where its time
--        has to come first (neither where it waits for another)

local id, attempt, reason = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local x = load()
if not x then return { 'missing' } end
if x.status ~= 'running' or x.attempt ~= attempt then return { 'stale', x.status, x.reason, x.attempt } end
if redis.call('HEXISTS', RECORD, 'tt') == 1 then return { 'stop' } end
local ended, after = take(6)
local coming, last = take(after)
if ARGV[last + 1] ~= '' then
  local lost = (tonumber(redis.call('HGET', RECORD, 'lo')) or 0) + 1
  if lost >= tonumber(ARGV[last + 1]) then return { 'poison', lost } end
  redis.call('HSET', RECORD, 'lo', lost)
end
revalue(ended, x.number)
if #ended > 0 then redis.call('HSET', RECORD, unpack(ended)) end
archive(attempt, 'failed', reason, now_us())
if redis.call('EXISTS', LOG) == 1 then redis.call('XADD', LOG, '*', 'end', reason) end
local eta = reopen(id, x, reason, ARGV[4], ARGV[5], { 'er', 'tb', 'cp', 'mm', 'pc', 'pm', 'eta' }, coming)
-- What waits has no message of its own to be published again.
if reason == 'waiting' then redis.call('ZREM', OUTBOX, id) end
if ARGV[last] ~= '' then
  redis.call('HSET', RECORD, 'fn', ARGV[last])
  move('function', x.fn, ARGV[last], x.number)
end
return { 'ok', attempt + 1, eta }
