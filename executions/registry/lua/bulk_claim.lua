-- bulk_claim: take a bulk that nobody carries on, or whose carrier's time is over.
-- KEYS   1 bulk  2 carried
-- ARGV   id, token of the carrier, its time in milliseconds
-- REPLY  1 where it is the caller's now, else 0
-- EFFECT who held it before is refused from now on; one that is gone or has ended is not asked for again

local f = redis.call('HMGET', KEYS[1], 'state', 'carrier', 'until')
if f[1] ~= 'running' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
if f[2] and tonumber(f[3]) > now then return 0 end
redis.call('HSET', KEYS[1], 'carrier', ARGV[2], 'until', string.format('%.0f', now + ARGV[3] * 1000))
return 1
