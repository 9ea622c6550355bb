-- bulk_step: tell what became of the batch in hand, and take the next one in hand.
-- KEYS   1 bulk  2 carried
-- ARGV   id, token, milliseconds that the carrier has from now on (0 to let it go), state, seconds that an ended one
--        is kept, n, name and number to add ..., field and value ...
-- REPLY  1, or 0 where another carries it, or it has ended or is gone
-- EFFECT numbers are added, fields written; with another state than running it is over, and nobody's

if redis.call('HGET', KEYS[1], 'carrier') ~= ARGV[2] then return 0 end
local n = tonumber(ARGV[6])
for i = 7, 6 + n, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[7 + n] then redis.call('HSET', KEYS[1], unpack(ARGV, 7 + n)) end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
if ARGV[4] == 'running' then
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3] * 1000))
else
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'finished', string.format('%.0f', now))
  redis.call('HDEL', KEYS[1], 'carrier', 'until', 'cursor', 'batch')
  redis.call('EXPIRE', KEYS[1], ARGV[5])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return 1
