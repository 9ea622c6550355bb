-- read: give the same parts of many records; a third of the time that as many commands take.
-- KEYS   the records
-- ARGV   field ...
-- REPLY  for each record the values of the fields, nothing for the missing
-- EFFECT none

local found = {}
for at = 1, #KEYS do found[at] = redis.call('HMGET', KEYS[at], unpack(ARGV)) end
return found
