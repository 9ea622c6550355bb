-- settle: end an execution that never started (rejected, upstream, expired).
-- KEYS   see _prelude
-- ARGV   id, status, reason, principal, message, retention_s, result JSON, n, field and value ...
-- REPLY  {'ok', finished_us} | {'missing'} | {'stale', status, reason, attempt}
-- EFFECT record, entry, indexes, event; the outbox entry goes; keys get their time to live

local id = ARGV[1]
local x = load()
if not x then return { 'missing' } end
if x.status ~= 'pending' then return { 'stale', x.status, x.reason, x.attempt } end
local fields = take(8)
x.started = nil
local at_us = close(id, x, ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], fields, ARGV[7])
return { 'ok', int(at_us) }
