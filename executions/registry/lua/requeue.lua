-- requeue: put one held message back into its source.
-- KEYS   1 held list, 2 source
-- ARGV   the message as it is held, the message as it goes back, LEFT (taken last) or RIGHT (taken next)
-- REPLY  1, or 0 where it is held no more
-- EFFECT the message has moved; one that somebody has taken away before is not sent twice

if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
redis.call(ARGV[3] == 'LEFT' and 'LPUSH' or 'RPUSH', KEYS[2], ARGV[2])
return 1
