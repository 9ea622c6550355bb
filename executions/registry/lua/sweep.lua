-- sweep: clear what bitmaps say of numbers that no longer exist.
-- KEYS   see _prelude; 1 and 11 are of no execution and not touched
-- ARGV   field of the index ...
-- REPLY  how many bits were cleared
-- EFFECT each field keeps only bits that `*` has too; the counts of its term follow

local cleared = 0
for _, field in ipairs(ARGV) do
  local term, chunk = string.match(field, '^(.*)/(%d+)$')
  local bytes = term and term ~= '*' and redis.call('HGET', INDEX, field)
  if bytes then
    local existing = redis.call('HGET', INDEX, '*/' .. chunk) or ''
    local kept, gone = {}, 0
    for at = 1, #bytes do
      local byte = string.byte(bytes, at)
      local stays = bit.band(byte, string.byte(existing, at) or 0)
      local left = byte - stays
      while left > 0 do
        gone, left = gone + left % 2, math.floor(left / 2)
      end
      kept[at] = string.char(stays)
    end
    if gone > 0 then
      bytes = table.concat(kept)
      if string.find(bytes, '[^%z]') then redis.call('HSET', INDEX, field, bytes) else redis.call('HDEL', INDEX, field) end
      local name = string.match(term, '^[^:]*')
      if name ~= 'has' and not UNCOUNTED[name] and redis.call('HINCRBY', COUNTS, term, -gone) <= 0 then
        redis.call('HDEL', COUNTS, term)
      end
      cleared = cleared + gone
    end
  end
end
return cleared
