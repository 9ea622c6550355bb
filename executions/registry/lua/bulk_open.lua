-- bulk_open: write a bulk down, to be carried out by whoever claims it.
-- KEYS   1 bulk  2 bulks  3 carried
-- ARGV   id, how many bulks are listed at most, field and value ...
-- REPLY  the time of its creation in microseconds
-- EFFECT the bulk is there, running, listed, and nobody's; the oldest are not listed any more

local t = redis.call('TIME')
local at = string.format('%.0f', t[1] * 1000000 + t[2])
redis.call('HSET', KEYS[1], 'state', 'running', 'created', at, 'done', 0, unpack(ARGV, 3))
redis.call('ZADD', KEYS[2], at, ARGV[1])
redis.call('ZADD', KEYS[3], at, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[2] - 1)
return at
