-- finish: end the running attempt, for good (succeed, computed or reused, fail, stop).
-- KEYS   see _prelude; 11 is the log of the attempt
-- ARGV   id, attempt, status, reason, principal, message, retention_s, result JSON, traceback JSON, children JSON,
--        n, field and value ...
-- REPLY  {'ok', finished_us} | {'missing'} | {'stale', status, reason, attempt}
-- EFFECT record, entry, times, indexes, event, the log's end mark; keys get their time to live.
--        A late write of an attempt that is not the running one changes nothing.

local id, attempt, status = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local x = load()
if not x then return { 'missing' } end
if (status == 'success' or status == 'cached') and x.status == status and x.attempt == attempt then
  -- Its own reply got lost: an attempt succeeds once.
  return { 'ok', redis.call('HGET', RECORD, 'fi') }
end
if x.status ~= 'running' or x.attempt ~= attempt then return { 'stale', x.status, x.reason, x.attempt } end
local fields = take(11)
local principal, message = ARGV[5], ARGV[6]
if status == 'terminated' then
  local asked = redis.call('HGET', RECORD, 'tt')
  if asked then
    local request = cjson.decode(asked)
    principal, message = request.principal, message ~= '' and message or request.cause
  end
end
local at_us = close(id, x, status, ARGV[4], principal, message, ARGV[7], fields, ARGV[8], ARGV[9], ARGV[10])
return { 'ok', int(at_us) }
