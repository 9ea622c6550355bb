-- give_back: move what a consumer holds of one source back, so that the oldest is the next to be taken.
-- KEYS   1 holders, 2 held list, 3 source
-- ARGV   entry in holders, how many at most, time (seconds) before which an entry that holds nothing is forgotten
-- REPLY  how many were moved
-- EFFECT the messages are in the source again; the entry goes where it has nothing left and is that old

local moved, most = 0, tonumber(ARGV[2])
while moved < most and redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') do moved = moved + 1 end
if moved < most then
  local since = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if since and tonumber(since) < tonumber(ARGV[3]) then redis.call('ZREM', KEYS[1], ARGV[1]) end
end
return moved
