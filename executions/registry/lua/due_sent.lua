-- due_sent: forget what was owed to executions: their messages were sent.
-- KEYS   1 due
-- ARGV   id, due again at, as due.lua said ... (pairs)
-- REPLY  how many were forgotten
-- EFFECT the entries are gone, but for those that have changed since: a fast attempt may be due for its next one

local forgotten = 0
for i = 1, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '') == tonumber(ARGV[i + 1]) then
    forgotten = forgotten + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return forgotten
