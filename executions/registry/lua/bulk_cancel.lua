-- bulk_cancel: ask for a bulk to go no further.
-- KEYS   1 bulk
-- ARGV   who asks
-- REPLY  1, or 0 where it has ended or is gone
-- EFFECT the next step of its carrier is the last one

if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('HSETNX', KEYS[1], 'cancelled', ARGV[1])
return 1
