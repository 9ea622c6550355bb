-- lead: take or keep the lead of upkeep.
-- KEYS   1 leader
-- ARGV   term, lease in milliseconds
-- REPLY  the server's time in microseconds where the term leads, else 0
-- EFFECT the lead is renewed, or taken where nobody has it; it ends by itself

local leads = redis.call('GET', KEYS[1])
if leads and leads ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local t = redis.call('TIME')
return t[1] * 1000000 + t[2]
