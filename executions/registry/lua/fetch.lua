-- fetch: move messages from their sources into the held lists of one consumer.
-- KEYS   1 holders; then, for each source in the order of priority, the source and its held list
-- ARGV   room, sources of one priority (they take turns), entry of each source in holders ...
-- REPLY  place of the source, message, ...
-- EFFECT the consumer is listed for each source, as of now, before it holds anything

local room, turn, sources = tonumber(ARGV[1]), tonumber(ARGV[2]), #ARGV - 2
local now = redis.call('TIME')[1]
for at = 1, sources do redis.call('ZADD', KEYS[1], now, ARGV[at + 2]) end

local found = {}
-- A step of zero would never end.
for first = 1, sources, math.max(turn, 1) do
  local more = true
  while more and room > 0 do
    more = false
    for at = first, math.min(first + turn - 1, sources) do
      local source, held = 2 * at, 2 * at + 1
      local message = room > 0 and redis.call('LMOVE', KEYS[source], KEYS[held], 'RIGHT', 'LEFT')
      if message then
        more, room = true, room - 1
        found[#found + 1] = at
        found[#found + 1] = message
      end
    end
  end
end
return found
