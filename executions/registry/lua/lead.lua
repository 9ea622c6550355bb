-- lead: take or keep the lead of upkeep.
-- KEYS   1 leader
-- ARGV   term, lease in milliseconds
-- REPLY  1 where the term leads, else 0
-- EFFECT the lead is renewed, or taken where nobody has it; it ends by itself

local leads = redis.call('GET', KEYS[1])
if leads == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if leads then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
