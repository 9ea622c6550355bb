-- view_write: write or remove one saved view, unless any of them has changed since they were read.
-- KEYS   1 views
-- ARGV   revision that the caller has read, id, the view as JSON ('' to remove it)
-- REPLY  1, or 0 where another revision is in force
-- EFFECT the view, and the next revision: names, numbers and versions that the caller has checked hold at this moment

local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if revision ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[2]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) end
redis.call('HINCRBY', KEYS[1], 'revision', 1)
return 1
