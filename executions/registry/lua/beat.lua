-- beat: renew a worker's lease, unless its term is over.
-- KEYS   1 workers, 2 what the worker says of itself
-- ARGV   term, name, facts JSON (or '' to leave them), lease in seconds, seconds that a lost worker stays listed,
--        '1' where nobody can have declared the term over: its first beat, or less than a lease since the last
-- REPLY  {1 where the term stands, else 0, now in microseconds}
-- EFFECT the lease is renewed. A term that was declared over never comes back. One that the server does not know
--        and that cannot be over (the server lost its data) is entered anew

local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local us = string.format('%.0f', t[1] * 1000000 + t[2])
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends and tonumber(ends) <= 0 or not ends and ARGV[6] ~= '1' then return { 0, us } end
redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[4]), ARGV[1])
redis.call('HSET', KEYS[2], 'name', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'facts', ARGV[3]) end
redis.call('HSETNX', KEYS[2], 'since', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[2], ARGV[5])
return { 1, us }
