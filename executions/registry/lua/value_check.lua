-- value_check: compare what VALUES has of one execution with its record.
-- KEYS   see _prelude
-- ARGV   id, number, '1' to put it right or '', members that were found under that number ...
-- REPLY  {{names that VALUES lacks}, {those of the members that the record does not ask for}}
-- EFFECT none; when it is put right, the first are entered and the second go

local number, mends = tonumber(ARGV[2]), ARGV[3] == '1'
local x = load()
local asked, missing, stray = {}, {}, {}
if x and x.number == number then
  for _, name in ipairs(cjson.decode(redis.call('HGET', RECORD, 'vx') or '[]')) do
    local text = redis.call('HGET', RECORD, name)
    local member = text and valued(name, text, number)
    if member then
      asked[member] = true
      if not redis.call('ZSCORE', VALUES, member) then
        missing[#missing + 1] = name
        if mends then redis.call('ZADD', VALUES, 0, member) end
      end
    end
  end
end
for i = 4, #ARGV do
  -- It may have gone since it was found.
  if not asked[ARGV[i]] and redis.call('ZSCORE', VALUES, ARGV[i]) then
    stray[#stray + 1] = ARGV[i]
    if mends then redis.call('ZREM', VALUES, ARGV[i]) end
  end
end
return { missing, stray }
