-- note: add a note of somebody's to an execution.
-- KEYS   see _prelude
-- ARGV   id, who, text, notes that there may be
-- REPLY  {'ok', number of the note} | {'missing'} | {'full'}
-- EFFECT the notes, their number and the bit that there are some; those who wait are told; the status stays, so no event

local id = ARGV[1]
local x = load()
if not x then return { 'missing' } end
local notes = cjson.decode(redis.call('HGET', RECORD, 'nt') or '[]')
if #notes >= tonumber(ARGV[4]) then return { 'full' } end
notes[#notes + 1] = { int(now_us()), ARGV[2], ARGV[3] }
redis.call('HSET', RECORD, 'nt', cjson.encode(notes), 'nc', #notes)
mark('has:note', x.number, true)
tell(id, x.status, x.reason, x.attempt)
return { 'ok', #notes }
