-- annotate: write what a function or its worker says about an execution.
-- KEYS   see _prelude
-- ARGV   id, attempt ('' to write whatever the status), n, field and value ..., m, new tag ..., terms n, field and value ..., bulk or ''
-- REPLY  {'ok'} | {'missing'} | {'again'}: this bulk has done it | {'stale', status, reason, attempt}
-- EFFECT fields, tags, values and their index entries; those who wait are told; the status stays, so there is no event

local id = ARGV[1]
local x = load()
if not x then return { 'missing' } end
if ARGV[2] ~= '' and (x.status ~= 'running' or x.attempt ~= tonumber(ARGV[2])) then
  return { 'stale', x.status, x.reason, x.attempt }
end
local fields, tags_at = take(3)
local tags, terms_at = take(tags_at)
local terms, bulk_at = take(terms_at)
if has_acted(ARGV[bulk_at]) then return { 'again' } end
note_bulk(x, ARGV[bulk_at])
revalue(fields, x.number)
if #fields > 0 then redis.call('HSET', RECORD, unpack(fields)) end
if #tags > 0 then add_tags(tags, x.number) end
for i = 1, #terms, 2 do index(terms[i], terms[i + 1], x.number, true) end
tell(id, x.status, x.reason, x.attempt)
return { 'ok' }
