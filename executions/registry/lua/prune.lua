-- prune: forget an ended execution and everything that points at it, or a number whose record is gone.
-- KEYS   see _prelude; 16 ... further keys of the execution: logs of its earlier attempts, step metrics
-- ARGV   id ('' where it is not known), number, the latest end that is old enough (us; '' for any)
-- REPLY  {'ok'} | {'missing'}: no record has this number
--        | {'open', status, reason, attempt}: it has not ended, or not long enough ago
-- EFFECT record, logs, metrics, index bits, counts, times, values and id entry are gone. Of a missing record the terms
--        are not known: its number no longer exists, and sweep.lua clears the bits that are left of it.

local id, number, before = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3] or '')
local x = load()
-- An id may have been used again, by a named submit, after its first record was gone: that one stays.
if x and x.number ~= number then x = nil end
if x then
  local finished = tonumber(redis.call('HGET', RECORD, 'fi') or '')
  if x.status == 'pending' or x.status == 'running' or (before and finished and finished > before) then
    return { 'open', x.status, x.reason, x.attempt }
  end
end

redis.call('ZREM', STARTED, number)
redis.call('ZREM', FINISHED, number)
redis.call('ZREM', DURATION, number)
mark('*', number, false)
mark('has:started', number, false)
mark('has:note', number, false)
redis.call('HDEL', IDS, 'x' .. number)
local chunk, slot = math.floor(number / ID_CHUNK), number % ID_CHUNK
local ids = redis.call('HGET', IDS, chunk)
if ids and #ids >= slot * 16 + 16 then
  ids = string.sub(ids, 1, slot * 16) .. string.rep('\0', 16) .. string.sub(ids, slot * 16 + 17)
  if string.find(ids, '[^%z]') then redis.call('HSET', IDS, chunk, ids) else redis.call('HDEL', IDS, chunk) end
end
if not x then return { 'missing' } end

local f = redis.call('HMGET', RECORD, 'sv', 'qu', 'pl', 'sg', 'pa', 'ro', 'nm', 'tg', 'gc', 'gb', 'vx', 'bk')
index('status', x.status, number, false)
index('function', x.fn, number, false)
index('worker', x.worker, number, false)
index('service', f[1], number, false)
index('queue', f[2], number, false)
index('pipeline', f[3], number, false)
index('stage', f[4], number, false)
index('parent', f[5], number, false)
if f[6] ~= id then index('root', f[6], number, false) end
index('name', f[7], number, false)
index('commit', f[9], number, false)
index('branch', f[10], number, false)
for _, tag in ipairs(cjson.decode(f[8] or '[]')) do index('tag', tag, number, false) end
for one in string.gmatch(f[12] or '', '%S+') do index('bulk', one, number, false) end
for _, name in ipairs(cjson.decode(f[11] or '[]')) do
  local member = valued(name, redis.call('HGET', RECORD, name) or '', number)
  if member then redis.call('ZREM', VALUES, member) end
end
redis.call('ZREM', OUTBOX, id)
redis.call('ZREM', DUE, id)
redis.call('HDEL', STOPS, id)
redis.call('UNLINK', RECORD, LOG, unpack(KEYS, 16))
return { 'ok' }
