-- service_leave: give a slot back, and choose which parked executions try next.
-- KEYS   1 service   2 slots   3 parked
-- ARGV   ticket ('' for none), how many to choose at most
-- REPLY  {id ...}, the longest parked first
-- EFFECT the slot is free. The chosen stay in the set with their place below zero, so that no other caller
--        chooses them and none is lost where this caller dies before it has sent them on; entering, or the
--        waker, takes them out. A ticket without a slot chooses nobody: its leaving was done before.

if ARGV[1] ~= '' and redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return {} end
local f = redis.call('HMGET', KEYS[1], 'settings', 'paused')
if f[2] == '1' then return {} end
local room = tonumber(ARGV[2])
local limit = f[1] and cjson.decode(f[1]).concurrency
if limit then room = math.min(room, limit - redis.call('ZCARD', KEYS[2])) end
if room <= 0 then return {} end
local found = redis.call('ZRANGEBYSCORE', KEYS[3], '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, room)
local chosen = {}
for i = 1, #found, 2 do
  redis.call('ZADD', KEYS[3], 'XX', '-' .. string.format('%.0f', tonumber(found[i + 1])), found[i])
  chosen[#chosen + 1] = found[i]
end
return chosen
