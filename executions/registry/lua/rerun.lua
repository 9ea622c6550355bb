-- rerun: open an ended execution for one more attempt.
-- KEYS   see _prelude
-- ARGV   id, principal, message, n, field and value ... (of the next attempt), new function or '', bulk or ''
-- REPLY  {'ok', next attempt, eta where it lies ahead} | {'missing'} | {'again'}: this bulk has done it | {'open', status, reason, attempt}: it has not ended
-- EFFECT the last attempt is put aside, the record is pending again, the outbox holds it, or due where its
--        time has to come first; nothing is forgotten

local id = ARGV[1]
local x = load()
if not x then return { 'missing' } end
local coming, last = take(4)
if has_acted(ARGV[last + 1]) then return { 'again' } end
if x.status == 'pending' or x.status == 'running' then return { 'open', x.status, x.reason, x.attempt } end
if x.attempt > 0 and redis.call('HEXISTS', RECORD, 'a' .. x.attempt) == 0 then
  archive(x.attempt, x.status, x.reason, now_us())
end
note_bulk(x, ARGV[last + 1])
local eta = reopen(id, x, 'rerun', ARGV[2], ARGV[3],
  { 'er', 'tb', 'cp', 'mm', 'pc', 'pm', 'eta', 'out', 'or', 'ex', 're', 'src', 'lo' }, coming)
if ARGV[last] ~= '' and ARGV[last] ~= x.fn then
  redis.call('HSET', RECORD, 'fn', ARGV[last])
  move('function', x.fn, ARGV[last], x.number)
end
return { 'ok', x.attempt + 1, eta }
