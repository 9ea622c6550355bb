-- submit: accept an execution.
-- KEYS   see _prelude; then, where its message goes along, the list of the broker that takes it
-- ARGV   id, packed id or '', reason, message, n, field and value ..., n, term field and value ..., outbox '1' or '',
--        then the text of the message where it goes along
-- REPLY  {'new', number, created_us, eta where it lies ahead} | {'exists', status, reason, attempt}
-- EFFECT record, first status log entry, indexes, values, event, and an entry in the outbox or, with a time that lies
--        ahead, in due; the message in its list unless its time lies ahead; nothing where the id exists

local id, packed, reason, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = load()
if known then return { 'exists', known.status, known.reason, known.attempt } end

local fields, next_at = take(5)
local terms, after = take(next_at)
local at_us = now_us()
local eta = eta_of(fields, at_us)
if reason == 'queued' and eta then reason = 'scheduled' end
local number = redis.call('HINCRBY', META, 'number', 1)
if number == 1 then redis.call('HSET', META, 'valued', 1) end
local x = { number = number, entries = 0, status = '', attempt = 0, fn = '' }
for i = 1, #fields, 2 do
  if fields[i] == 'fn' then x.fn = fields[i + 1] elseif fields[i] == 'sv' then x.sv = fields[i + 1] end
end
local seq, text = entry(x, 'pending', reason, at_us, 0, '', message)
revalue(fields, number)
redis.call('HSET', RECORD, 'v', FORMAT, 'no', number, 'st', 'pending', 'rs', reason, 'at', 0,
  'cr', int(at_us), 'ls', 1, seq, text, unpack(fields))

local chunk, slot = math.floor(number / ID_CHUNK), number % ID_CHUNK
if packed == '' then
  redis.call('HSET', IDS, 'x' .. number, id)
else
  local ids = redis.call('HGET', IDS, chunk) or ''
  redis.call('HSET', IDS, chunk, ids .. string.rep('\0', slot * 16 - #ids) .. packed)
end
if number % CHUNK == 0 or number == 1 then redis.call('ZADD', MARKS, int(at_us), number) end

mark('*', number, true)
index('status', 'pending', number, true)
for i = 1, #terms, 2 do index(terms[i], terms[i + 1], number, true) end
if ARGV[after] == '1' then await(id, at_us, eta, fields) end
announce(id, x, 'pending', reason, 0)
if ARGV[after + 1] and not eta then redis.call('LPUSH', KEYS[16], ARGV[after + 1]) end
return { 'new', number, int(at_us), eta and int(eta) }
