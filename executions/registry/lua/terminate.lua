-- terminate: stop an execution: at once where it waits, by asking its worker where it runs.
-- KEYS   see _prelude
-- ARGV   id, principal, cause, request JSON {principal, cause, mode, grace_s, at}, retention_s, result JSON, reason, bulk or ''
-- REPLY  {'terminated'} | {'asked', worker, attempt} | {'terminal', status, reason, attempt} | {'missing'}
--        | {'again'}: this bulk has done it
-- EFFECT waiting: closed as terminated/<reason>; where others wait for it, `due` holds it for them. Running: the request is kept on the record and in `stops`
--        (where the worker's next beat finds it) and the status log says `terminating`. Terminal: nothing.

local id, principal, cause, request = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local x = load()
if not x then return { 'missing' } end
if has_acted(ARGV[8]) then return { 'again' } end
if x.status == 'pending' then
  note_bulk(x, ARGV[8])
  x.started = nil
  close(id, x, 'terminated', ARGV[7], principal, cause, ARGV[5], { 'tt', request, 'er', ARGV[6] }, ARGV[6])
  return { 'terminated' }
end
if x.status ~= 'running' then return { 'terminal', x.status, x.reason, x.attempt } end
note_bulk(x, ARGV[8])
redis.call('HSET', RECORD, 'tt', request)
redis.call('HSET', STOPS, id, cjson.encode({ worker = x.worker, attempt = x.attempt, request = cjson.decode(request) }))
if x.reason ~= 'terminating' then
  local seq, text = entry(x, 'running', 'terminating', now_us(), x.attempt, principal, cause)
  redis.call('HSET', RECORD, 'rs', 'terminating', 'msg', cause, 'ls', x.entries, seq, text)
  announce(id, x, 'running', 'terminating', x.attempt)
end
return { 'asked', x.worker, x.attempt }
