-- prune: forget an ended execution and everything that points at it.
-- KEYS   see _prelude
-- ARGV   id, number, n, key of a log or payload list ... is not taken: logs end by their own time to live
-- REPLY  {'ok'} | {'missing'} | {'open', status, reason, attempt}: it has not ended
-- EFFECT record, index bits, counts, times and id entry are gone

local id, number = ARGV[1], tonumber(ARGV[2])
local x = load()
if x and (x.status == 'pending' or x.status == 'running') then return { 'open', x.status, x.reason, x.attempt } end
redis.call('ZREM', STARTED, number)
redis.call('ZREM', FINISHED, number)
redis.call('ZREM', DURATION, number)
if not x then return { 'missing' } end
local f = redis.call('HMGET', RECORD, 'fn', 'sv', 'qu', 'pl', 'sg', 'pa', 'ro', 'tg', 'nm')
mark('*', number, false)
mark('has:started', number, false)
index('status', x.status, number, false)
index('function', f[1], number, false)
index('service', f[2], number, false)
index('queue', f[3], number, false)
index('pipeline', f[4], number, false)
index('stage', f[5], number, false)
index('parent', f[6], number, false)
if f[7] and f[7] ~= id then index('root', f[7], number, false) end
index('worker', x.worker, number, false)
index('name', f[9], number, false)
for _, tag in ipairs(cjson.decode(f[8] or '[]')) do index('tag', tag, number, false) end

local chunk, slot = math.floor(number / ID_CHUNK), number % ID_CHUNK
redis.call('HDEL', IDS, 'x' .. number)
local ids = redis.call('HGET', IDS, chunk)
if ids and #ids >= slot * 16 + 16 then
  ids = string.sub(ids, 1, slot * 16) .. string.rep('\0', 16) .. string.sub(ids, slot * 16 + 17)
  if string.find(ids, '[^%z]') then redis.call('HSET', IDS, chunk, ids) else redis.call('HDEL', IDS, chunk) end
end
redis.call('DEL', RECORD, LOG)
return { 'ok' }
