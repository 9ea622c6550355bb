-- unlead: give the lead of upkeep back.
-- KEYS   1 leader
-- ARGV   term
-- REPLY  1 where the term had the lead, else 0
-- EFFECT nobody leads, where the term did

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
