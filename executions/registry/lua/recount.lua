-- recount: count the bits of a term, beside the count that is kept of it.
-- KEYS   see _prelude; 1 and 11 are of no execution and not touched
-- ARGV   term, last chunk, '1' to keep what was counted, or ''
-- REPLY  {count that was kept, bits that are set}
-- EFFECT with '1', the count of the term is the number of its bits

local kept, found = tonumber(redis.call('HGET', COUNTS, ARGV[1]) or '0'), 0
local bits = {}
for byte = 0, 255 do
  local left, set = byte, 0
  while left > 0 do
    set, left = set + left % 2, math.floor(left / 2)
  end
  bits[byte] = set
end
for chunk = 0, tonumber(ARGV[2]) do
  local bytes = redis.call('HGET', INDEX, ARGV[1] .. '/' .. chunk)
  if bytes then
    for at = 1, #bytes do found = found + bits[string.byte(bytes, at)] end
  end
end
if ARGV[3] == '1' then
  if found == 0 then redis.call('HDEL', COUNTS, ARGV[1]) else redis.call('HSET', COUNTS, ARGV[1], found) end
end
return { kept, found }
