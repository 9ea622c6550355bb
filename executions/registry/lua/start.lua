-- start: give the next attempt to exactly one worker.
-- KEYS   see _prelude; 11 is the log of the attempt that starts
-- ARGV   id, attempt named by the message ('' for any), worker, pid, pool, service version or '', retention_s,
--        what a reset means where the call does not say, as `on_reset/max_attempts`, or '',
--        claim: names the worker's term and this very call, so that a reply that got lost can be asked for again,
--        '=' and the service that governs it, if any, or '' to leave what the record says,
--        seconds that the attempt may run where the call does not say, or '',
--        the code that its worker runs, as `<look>/<commit>`, or ''
-- REPLY  {'ok', attempt, options, created_us, state, payload reference, started_us}
--        | {'missing'} | {'taken', status, reason, attempt} | {'expired'}
-- EFFECT record, entry, indexes, event; its entries in outbox and due go; an expired execution is closed

local id, named, worker, version = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local x = load()
if not x then return { 'missing' } end
local more = redis.call('HMGET', RECORD, 'op', 'ex', 'ss', 'pay', 'ck', 'sv', 'gc')
local function ours(at_us)
  local payload = more[4] and string.sub(more[4], 1, 1) == '@' and more[4] or ''
  return { 'ok', x.attempt, more[1] or '', x.created, more[3] or '', payload, int(at_us) }
end
if x.status == 'running' and ARGV[9] ~= '' and more[5] == ARGV[9] then return ours(x.started) end
if x.status ~= 'pending' or (named ~= '' and tonumber(named) ~= x.attempt + 1) then
  return { 'taken', x.status, x.reason, x.attempt }
end
local at_us = now_us()
if more[2] and tonumber(more[2]) < at_us then
  expire(id, x, 'expired before a worker took it', ARGV[7])
  return { 'expired' }
end
x.attempt = x.attempt + 1
local seq, text = entry(x, 'running', 'started', at_us, x.attempt)
redis.call('HSET', RECORD, 'st', 'running', 'rs', 'started', 'msg', '', 'at', x.attempt, 'sd', int(at_us), 'wk', worker,
  'pid', ARGV[4], 'po', ARGV[5], 'ck', ARGV[9], 'ls', x.entries, seq, text)
if version ~= '' then redis.call('HSET', RECORD, 'vs', version) end
if x.attempt > 1 then redis.call('HDEL', RECORD, 'rp', 'dl', 'gw') end
local commit = string.match(ARGV[12], '/(.*)')
if commit and commit ~= more[7] then redis.call('HSET', RECORD, 'gw', ARGV[12]) end
local limit = more[1] and string.match(more[1], '"execution_timeout":%s*(%d+)') or ARGV[11]
if limit ~= '' then redis.call('HSET', RECORD, 'dl', int(at_us + limit * 1000000)) end
if ARGV[8] ~= '' then redis.call('HSET', RECORD, 'rp', ARGV[8]) end
govern(x, more[6], ARGV[10])
move('status', 'pending', 'running', x.number)
move('worker', x.worker, worker, x.number)
mark('has:started', x.number, true)
redis.call('ZADD', STARTED, int(at_us), x.number)
redis.call('ZREM', OUTBOX, id)
redis.call('ZREM', DUE, id)
announce(id, x, 'running', 'started', x.attempt)
return ours(at_us)
