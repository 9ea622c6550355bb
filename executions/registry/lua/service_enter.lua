-- service_enter: let an attempt start, or park its execution until it may.
-- KEYS   1 service   2 slots   3 parked
-- ARGV   ticket (which attempt of which execution), id
-- REPLY  {'in', version} | {'held', version}: the ticket has a slot already | {'free', version}: no limit
--        | {'paused', version, by whom} | {'full', version, limit} | {'unknown'}: there is no such service
-- EFFECT in: the ticket holds a slot, the execution is not parked any more.
--        paused, full: the execution is parked, at the place it had if it was parked before.

local f = redis.call('HMGET', KEYS[1], 'version', 'settings', 'paused', 'updated_by')
if not f[1] then return { 'unknown' } end
local version, id = tonumber(f[1]), ARGV[2]
local t = redis.call('TIME')
local at_us = string.format('%.0f', t[1] * 1000000 + t[2])

local function park()
  -- A place below zero belongs to one that was told to try again; it takes its old place.
  local place = redis.call('ZSCORE', KEYS[3], id)
  place = place and string.format('%.0f', math.abs(tonumber(place))) or at_us
  redis.call('ZADD', KEYS[3], place, id)
end

if f[3] == '1' then
  park()
  return { 'paused', version, f[4] or '' }
end
local limit = cjson.decode(f[2]).concurrency
if limit and redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  -- Its time is renewed, so that nobody takes the slot back who saw it unused before.
  redis.call('ZADD', KEYS[2], at_us, ARGV[1])
  redis.call('ZREM', KEYS[3], id)
  return { 'held', version }
end
if limit and redis.call('ZCARD', KEYS[2]) >= limit then
  park()
  return { 'full', version, limit }
end
redis.call('ZREM', KEYS[3], id)
if not limit then return { 'free', version } end
redis.call('ZADD', KEYS[2], at_us, ARGV[1])
return { 'in', version }
