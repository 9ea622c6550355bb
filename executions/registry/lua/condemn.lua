-- condemn: declare terms over whose lease has run out.
-- KEYS   1 workers
-- ARGV   when the caller last heard from the server (microseconds, by the server's clock), how long ago that may be
--        (microseconds), most terms
-- REPLY  the terms that are over: those declared so now, and those whose rescue is not done yet
-- EFFECT each gets a lease that ended at zero, which no beat renews. Nothing where the caller has not heard from
--        the server lately: the server itself was away then, and the leases ran out for that

local t = redis.call('TIME')
if t[1] * 1000000 + t[2] - ARGV[1] > tonumber(ARGV[2]) then return {} end
local now = string.format('(%.6f', t[1] + t[2] / 1000000)
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
for _, term in ipairs(over) do redis.call('ZADD', KEYS[1], 0, term) end
return over
