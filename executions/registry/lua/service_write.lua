-- service_write: create a service, or write its next version over the one that the writer knows.
-- KEYS   1 service   2 names of services
-- ARGV   name, version that the writer knows (0: none), force '1' or '', n, field and value ...
-- REPLY  {'ok', version} | {'conflict', version in force} | {'missing'}
-- EFFECT the fields, version + 1, the time; with force, what runs under older versions is to end at once

local known = tonumber(ARGV[2])
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if version == 0 and known ~= 0 then return { 'missing' } end
if version ~= known then return { 'conflict', version } end

local t = redis.call('TIME')
local at_us = string.format('%.0f', t[1] * 1000000 + t[2])
local fields = {}
for i = 1, tonumber(ARGV[4]) do fields[i] = ARGV[4 + i] end
redis.call('HSET', KEYS[1], 'version', version + 1, 'updated', at_us, unpack(fields))
if version == 0 then
  redis.call('HSET', KEYS[1], 'created', at_us)
  redis.call('SADD', KEYS[2], ARGV[1])
end
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'forced', version + 1) end
return { 'ok', version + 1 }
