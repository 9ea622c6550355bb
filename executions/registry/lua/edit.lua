-- edit: change the tags and properties of an execution, as a person asks for it.
-- KEYS   see _prelude
-- ARGV   id, n, tag to drop ..., n, tag to add ..., n, property to drop ..., n, property and value ...,
--        n, field and what the caller has seen in it ('' for nothing) ...: the tags and every property, or none
-- REPLY  {'ok'} | {'missing'} | {'changed'}: it is not as the caller has seen it | {'full'}: too many tags or properties
-- EFFECT tags, properties, their index entries and values; those who wait are told; the status stays, so no event

-- Properties and metrics of an execution to which a person may add one.
local NAMED_MOST = 1000

local id = ARGV[1]
local x = load()
if not x then return { 'missing' } end
local dropped, at = take(2)
local added, removed, fields, seen
added, at = take(at)
removed, at = take(at)
fields, at = take(at)
seen = take(at)

local names = cjson.decode(redis.call('HGET', RECORD, 'vx') or '[]')
if #seen > 0 then
  local known = {}
  for i = 1, #seen, 2 do
    if (redis.call('HGET', RECORD, seen[i]) or '') ~= seen[i + 1] then return { 'changed' } end
    known[seen[i]] = true
  end
  for _, name in ipairs(names) do
    if string.sub(name, 1, 2) == 'p.' and not known[name] then return { 'changed' } end
  end
end

local gone, kept, there = {}, {}, {}
for _, tag in ipairs(dropped) do gone[tag] = true end
for _, tag in ipairs(cjson.decode(redis.call('HGET', RECORD, 'tg') or '[]')) do
  if not gone[tag] then kept[#kept + 1], there[tag] = tag, true end
end
local tags = #kept
for _, tag in ipairs(added) do
  if not there[tag] then tags, there[tag] = tags + 1, true end
end
local named = #names
for i = 1, #fields, 2 do
  if redis.call('HEXISTS', RECORD, fields[i]) == 0 then named = named + 1 end
end
if tags > TAGS_MOST or named > NAMED_MOST then return { 'full' } end

if #dropped > 0 then
  for _, tag in ipairs(dropped) do mark('tag:' .. tag, x.number, false) end
  if #kept > 0 then redis.call('HSET', RECORD, 'tg', cjson.encode(kept)) else redis.call('HDEL', RECORD, 'tg') end
end
if #added > 0 then add_tags(added, x.number) end
if #removed > 0 then
  local off, left = {}, {}
  for _, name in ipairs(removed) do
    off[name] = true
    local was = redis.call('HGET', RECORD, name)
    local member = was and valued(name, was, x.number)
    if member then redis.call('ZREM', VALUES, member) end
  end
  for _, name in ipairs(names) do
    if not off[name] then left[#left + 1] = name end
  end
  redis.call('HDEL', RECORD, unpack(removed))
  if #left > 0 then redis.call('HSET', RECORD, 'vx', cjson.encode(left)) else redis.call('HDEL', RECORD, 'vx') end
end
revalue(fields, x.number)
if #fields > 0 then redis.call('HSET', RECORD, unpack(fields)) end
tell(id, x.status, x.reason, x.attempt)
return { 'ok' }
