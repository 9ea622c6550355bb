-- service_remove: forget a service that nothing waits for.
-- KEYS   1 service   2 names of services   3 slots   4 parked
-- ARGV   name
-- REPLY  {'ok'} | {'missing'} | {'parked', how many}
-- EFFECT the service, its slots and its name are gone; nothing where executions are parked

if redis.call('EXISTS', KEYS[1]) == 0 then return { 'missing' } end
local waiting = redis.call('ZCARD', KEYS[4])
if waiting > 0 then return { 'parked', waiting } end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
redis.call('SREM', KEYS[2], ARGV[1])
return { 'ok' }
