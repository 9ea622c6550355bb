-- catalogue_tell: say that a worker knows these functions.
-- KEYS   1 functions   2 when each was told last
-- ARGV   '1' to describe them anew or '' to leave what is described as it is, life_s, most, name and text ...
-- REPLY  number of functions that are known now
-- EFFECT the functions are described and told now; those that nobody tells of any more, or beyond `most`, go

local put, life_s, most = ARGV[1] == '1' and 'HSET' or 'HSETNX', tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local at_us = t[1] * 1000000 + t[2]
for i = 4, #ARGV, 2 do
  redis.call(put, KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], string.format('%.0f', at_us), ARGV[i])
end
local oldest = string.format('(%.0f', at_us - life_s * 1000000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', oldest, 'LIMIT', 0, 1000)
for _, name in ipairs(gone) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
local over = redis.call('ZCARD', KEYS[2]) - most
if over > 0 then
  local popped = redis.call('ZPOPMIN', KEYS[2], over)
  for i = 1, #popped, 2 do redis.call('HDEL', KEYS[1], popped[i]) end
end
redis.call('EXPIRE', KEYS[1], life_s)
redis.call('EXPIRE', KEYS[2], life_s)
return redis.call('ZCARD', KEYS[2])
