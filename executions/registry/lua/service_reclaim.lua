-- service_reclaim: take back slots whose executions do not run.
-- KEYS   1 slots
-- ARGV   ticket, place by which it was seen, ...
-- REPLY  how many were taken back
-- EFFECT a ticket that has entered again since it was seen keeps its slot

local done = 0
for i = 1, #ARGV, 2 do
  local place = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if place and tonumber(place) == tonumber(ARGV[i + 1]) then done = done + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return done
