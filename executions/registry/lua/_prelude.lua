-- Shared by every script of a state change; scripts.py puts it in front of each.
--
-- KEYS (all of one shard, so of one slot; built by registry/keys.py in this order)
--   1 record   2 index   3 counts   4 ids   5 started   6 finished   7 duration
--   8 outbox   9 events  10 meta    11 log of the current attempt   12 stops   13 marks
--  14 due      15 values
-- The record's key is also the name of its pub/sub channel.

local RECORD, INDEX, COUNTS, IDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local STARTED, FINISHED, DURATION = KEYS[5], KEYS[6], KEYS[7]
local OUTBOX, EVENTS, META, LOG, STOPS, MARKS = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local DUE, VALUES = KEYS[14], KEYS[15]

-- Newest record format that these scripts understand.
local FORMAT = 1
-- Numbers per bitmap chunk of the index, and ids per packed chunk.
local CHUNK, ID_CHUNK = 512, 64
-- Entries of a status log: the first ones are always kept, then the newest.
local LOG_FIRST, LOG_CAP = 20, 500
-- Newest events of a shard that are kept, and how much of a message goes with one.
local EVENTS_CAP, EVENT_MESSAGE = 10000, 1000
-- Microseconds in which whoever ends a member of a chord has told the chord. After that upkeep does.
local TOLD_WITHIN_US = 10000000
-- Bytes of a name and of a text by which properties and metrics are ordered, and the longest text that is read as a
-- number; query/values.py has the same.
local NAME_MOST, VALUE_MOST, NUMBER_MOST = 100, 64, 15
-- Tags of an execution.
local TAGS_MOST = 100
-- Fields with so many values that counting each would cost more than it tells.
local UNCOUNTED = { tag = true, bulk = true, parent = true, root = true, name = true }
-- Bulks that a record names as those that have acted on it, the newest.
local BULKS_CAP = 20

local CELERY = { pending = 'PENDING', running = 'STARTED', success = 'SUCCESS', cached = 'SUCCESS',
                 failed = 'FAILURE', terminated = 'REVOKED' }

-- Microseconds by the server's clock: the one clock that all timings of an execution come from.
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function int(n) return string.format('%.0f', n) end

local function quoted(text)
  if string.find(text, '^[%w%-_%.:]*$') then return '"' .. text .. '"' end
  return cjson.encode(text)
end

-- Set or clear one bit of one term's bitmap; a chunk that becomes empty goes away.
local function mark(term, number, on)
  local field = term .. '/' .. math.floor(number / CHUNK)
  local offset = number % CHUNK
  local at = math.floor(offset / 8) + 1
  local bit_value = 2 ^ (offset % 8)
  local bytes = redis.call('HGET', INDEX, field) or ''
  if #bytes < at then
    if not on then return end
    bytes = bytes .. string.rep('\0', at - #bytes)
  end
  local byte = string.byte(bytes, at)
  local is_on = math.floor(byte / bit_value) % 2 == 1
  if is_on == on then return end
  byte = on and byte + bit_value or byte - bit_value
  bytes = string.sub(bytes, 1, at - 1) .. string.char(byte) .. string.sub(bytes, at + 1)
  if not on and not string.find(bytes, '[^%z]') then
    redis.call('HDEL', INDEX, field)
  else
    redis.call('HSET', INDEX, field, bytes)
  end
end

local function index(field, value, number, on)
  if not value or value == '' then return end
  local term = field .. ':' .. value
  mark(term, number, on)
  if not UNCOUNTED[field] and redis.call('HINCRBY', COUNTS, term, on and 1 or -1) <= 0 then
    redis.call('HDEL', COUNTS, term)
  end
end

local function move(field, from, to, number)
  if from == to then return end
  index(field, from, number, false)
  index(field, to, number, true)
end

-- The member of VALUES for one property (p.<key>) or metric (m.<name>): its name, its value in a form whose bytes sort
-- like the values, and the number. Nothing for a name that is too long. registry/values.py makes the same.
local function valued(name, json, number)
  if #name > NAME_MOST + 2 then return nil end
  local text, is_text = json, string.sub(json, 1, 1) == '"'
  if is_text then
    local ok, read = pcall(cjson.decode, '[' .. json .. ']')
    text = ok and read[1] or ''
  end
  local form
  local is_number = string.match(text, '^%-?%d+%.?%d*$') or string.match(text, '^%-?%d+%.?%d*[eE][+-]?%d+$')
  if is_number and (not is_text or #text <= NUMBER_MOST) then
    local bytes = struct.pack('>d', tonumber(text) + 0)
    local first = string.byte(bytes)
    if first < 128 then
      form = 'n' .. string.char(first + 128) .. string.sub(bytes, 2)
    else
      form = 'n' .. string.gsub(bytes, '.', function(c) return string.char(255 - string.byte(c)) end)
    end
  else
    form = 't' .. string.gsub(string.sub(text, 1, VALUE_MOST), '%z', '\255')
  end
  return string.gsub(name, '%z', '\255') .. '\0' .. form .. '\0' .. int(number)
end

-- Put properties and metrics among those fields into VALUES, in place of what the record still says.
local function revalue(fields, number)
  local names, texts = {}, {}
  for i = 1, #fields, 2 do
    local head = string.sub(fields[i], 1, 2)
    if head == 'p.' or head == 'm.' then
      names[#names + 1], texts[#texts + 1] = fields[i], fields[i + 1]
    end
  end
  if #names == 0 then return end
  -- The numbers from here on are all there; those before may have been recorded by a version that had no VALUES.
  redis.call('HSETNX', META, 'valued', number)
  local was = redis.call('HMGET', RECORD, 'vx', unpack(names))
  local known, seen = was[1] and cjson.decode(was[1]) or {}, {}
  for _, name in ipairs(known) do seen[name] = true end
  for i, name in ipairs(names) do
    local member = valued(name, texts[i], number)
    if member then
      if was[i + 1] then redis.call('ZREM', VALUES, valued(name, was[i + 1], number)) end
      redis.call('ZADD', VALUES, 0, member)
    end
    if not seen[name] then known[#known + 1] = name end
  end
  redis.call('HSET', RECORD, 'vx', cjson.encode(known))
end

-- Add those tags that are not there yet, up to a hundred in all.
local function add_tags(tags, number)
  local known, seen = cjson.decode(redis.call('HGET', RECORD, 'tg') or '[]'), {}
  for _, tag in ipairs(known) do seen[tag] = true end
  for _, tag in ipairs(tags) do
    if not seen[tag] and #known < TAGS_MOST then
      known[#known + 1], seen[tag] = tag, true
      index('tag', tag, number, true)
    end
  end
  if #known > 0 then redis.call('HSET', RECORD, 'tg', cjson.encode(known)) end
end

-- Put the service right by which a worker really goes: `now` is '=' and its name, `was` what the record says.
local function govern(x, was, now)
  local service = string.sub(now, 2)
  if now == '' or service == (was or '') then return end
  if service == '' then redis.call('HDEL', RECORD, 'sv') else redis.call('HSET', RECORD, 'sv', service) end
  move('service', was, service, x.number)
end

-- The fields that every transition looks at first.
local function load()
  local f = redis.call('HMGET', RECORD, 'v', 'no', 'st', 'at', 'wk', 'sd', 'ls', 'fn', 'rs', 'cr', 'sv', 'cd')
  if not f[2] then return nil end
  if tonumber(f[1]) > FORMAT then
    error('EXECUTIONS-NEWER record format ' .. f[1])
  end
  return { number = tonumber(f[2]), status = f[3], attempt = tonumber(f[4]), worker = f[5],
           started = f[6] and tonumber(f[6]), entries = tonumber(f[7]), fn = f[8], reason = f[9],
           created = tonumber(f[10]), sv = f[11], chord = f[12] or '' }
end

-- Append to the status log; gives the fields to write with the record.
local function entry(x, status, reason, at_us, attempt, principal, message)
  x.entries, x.message = x.entries + 1, message or ''
  if x.entries > LOG_CAP then
    redis.call('HDEL', RECORD, tostring(x.entries - LOG_CAP + LOG_FIRST))
  end
  return tostring(x.entries),
    status .. '/' .. reason .. '|' .. int(at_us) .. '|' .. attempt .. '|' .. (principal or '') .. '|' .. (message or '')
end

-- Tell whoever waits for this execution.
local function tell(id, status, reason, attempt, result, traceback, children)
  local state = reason == 'retrying' and 'RETRY' or CELERY[status]
  redis.call('PUBLISH', RECORD, '{"task_id":' .. quoted(id) .. ',"status":"' .. state .. '","result":' ..
    (result or 'null') .. ',"traceback":' .. (traceback or 'null') .. ',"children":' .. (children or '[]') ..
    ',"execution":["' .. status .. '","' .. reason .. '",' .. attempt .. ']}')
end

-- Tell of a new entry of the status log: those who wait, and the stream of events.
local function announce(id, x, status, reason, attempt, result, traceback, children)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_CAP, '*', 'i', id, 's', status, 'r', reason,
    'a', attempt, 'f', x.fn, 'v', x.sv or '', 'm', string.sub(x.message, 1, EVENT_MESSAGE))
  tell(id, status, reason, attempt, result, traceback, children)
end

-- Put aside what is known of an attempt that is over, before the next one writes over it.
local function archive(attempt, status, reason, at_us)
  local f = redis.call('HMGET', RECORD, 'wk', 'pid', 'po', 'sd', 'cp', 'mm', 'er', 'tb', 'vs', 'fi')
  redis.call('HSET', RECORD, 'a' .. attempt, cjson.encode({
    worker = f[1], pid = f[2], pool = f[3], started = f[4], finished = f[10] or int(at_us), cpu = f[5],
    memory = f[6], error = f[7], traceback = f[8], service_version = f[9], status = status, reason = reason }))
end

-- Read the time before which an execution must not start, and give it where it lies ahead. Written as `+` and
-- microseconds it counts from now, by this clock: the caller's plays no part. It is kept as a time.
local function eta_of(fields, at_us)
  for i = 1, #fields, 2 do
    if fields[i] == 'eta' then
      local given = fields[i + 1]
      local eta = string.sub(given, 1, 1) == '+' and at_us + tonumber(string.sub(given, 2)) or tonumber(given)
      fields[i + 1] = int(eta)
      return eta > at_us and eta or nil
    end
  end
end

-- Wait for a worker, or for the time to come first. One that expires before that is due when it expires.
local function await(id, at_us, eta, fields)
  if not eta then
    redis.call('ZREM', DUE, id)
    redis.call('ZADD', OUTBOX, int(at_us), id)
    return
  end
  for i = 1, #fields, 2 do
    if fields[i] == 'ex' then eta = math.min(eta, tonumber(fields[i + 1])) end
  end
  redis.call('ZREM', OUTBOX, id)
  redis.call('ZADD', DUE, int(eta), id)
end

-- Whether somebody is told of this end in a second step, which whoever wrote it may not live to take: the chord that
-- counts it, or, where it did not succeed, the rest of its chain and those who are called on a failure.
local function is_awaited(x, status)
  if x.chord == 'member' then return true end
  if status == 'success' or status == 'cached' then return false end
  if x.chord == 'chain' then return true end
  local kept = redis.call('HGET', RECORD, 'hd')
  return kept and string.find(kept, '"embed"', 1, true) ~= nil
end

-- Close an execution: the last entry, the times, the indexes, its life after death.
local function close(id, x, status, reason, principal, message, retention_s, fields, result, traceback, children)
  local at_us = now_us()
  local seq, text = entry(x, status, reason, at_us, x.attempt, principal, message)
  revalue(fields, x.number)
  redis.call('HSET', RECORD, 'st', status, 'rs', reason, 'msg', message or '', 'fi', int(at_us),
    'ls', x.entries, seq, text, unpack(fields))
  move('status', x.status, status, x.number)
  redis.call('ZADD', FINISHED, int(at_us), x.number)
  if x.started then
    -- The number's low bits keep equal durations apart, so that a cursor can name a place between them.
    redis.call('ZADD', DURATION, int((at_us - x.started) * 1024 + x.number % 1024), x.number)
  end
  if not x.started and x.attempt > 0 then
    -- Closed while it waited for another attempt: the start of the attempt before is not its start.
    redis.call('HDEL', RECORD, 'sd')
    redis.call('ZREM', STARTED, x.number)
    mark('has:started', x.number, false)
  end
  redis.call('ZREM', OUTBOX, id)
  redis.call('ZREM', DUE, id)
  if is_awaited(x, status) then
    -- Of what was terminated while it waited no worker may ever hear.
    local is_told_now = x.status == 'pending' and status == 'terminated'
    redis.call('ZADD', DUE, int(is_told_now and at_us or at_us + TOLD_WITHIN_US), id)
  end
  redis.call('HDEL', STOPS, id)
  redis.call('EXPIRE', RECORD, retention_s)
  if x.started and redis.call('EXISTS', LOG) == 1 then
    redis.call('XADD', LOG, '*', 'end', status)
    redis.call('EXPIRE', LOG, retention_s)
  end
  announce(id, x, status, reason, x.attempt, result, traceback, children)
  return at_us
end

-- Close what nobody started in time.
local function expire(id, x, message, retention_s)
  x.started = nil
  local shown = '{"exc_type":"TaskRevokedError","exc_message":["expired"],"exc_module":"celery.exceptions"}'
  close(id, x, 'terminated', 'expired', '', message, retention_s, { 'er', shown }, shown)
end

-- Open an execution for its next attempt: back to pending, into the outbox or, where its time has to come first,
-- among the due. Gives that time.
local function reopen(id, x, reason, principal, message, drop, coming)
  local at_us = now_us()
  local eta = eta_of(coming, at_us)
  if eta and reason == 'queued' then reason = 'scheduled' end
  local seq, text = entry(x, 'pending', reason, at_us, x.attempt, principal, message)
  redis.call('HSET', RECORD, 'st', 'pending', 'rs', reason, 'msg', message or '', 'qd', int(at_us),
    'ls', x.entries, seq, text)
  redis.call('HDEL', RECORD, 'fi', 'tt', unpack(drop))
  if #coming > 0 then redis.call('HSET', RECORD, unpack(coming)) end
  move('status', x.status, 'pending', x.number)
  redis.call('ZREM', FINISHED, x.number)
  redis.call('ZREM', DURATION, x.number)
  redis.call('HDEL', STOPS, id)
  await(id, at_us, eta, coming)
  redis.call('PERSIST', RECORD)
  announce(id, x, 'pending', reason, x.attempt)
  return eta and int(eta)
end

-- Tell whether a bulk has acted on this execution: the same step that acts also notes it, so nothing is done twice.
local function has_acted(bulk)
  return bulk and bulk ~= '' and string.find(redis.call('HGET', RECORD, 'bk') or '', bulk, 1, true) ~= nil
end

-- Note that a bulk acts on this execution.
local function note_bulk(x, bulk)
  if not bulk or bulk == '' then return end
  local known = {}
  for one in string.gmatch(redis.call('HGET', RECORD, 'bk') or '', '%S+') do known[#known + 1] = one end
  known[#known + 1] = bulk
  index('bulk', bulk, x.number, true)
  if #known > BULKS_CAP then index('bulk', table.remove(known, 1), x.number, false) end
  redis.call('HSET', RECORD, 'bk', table.concat(known, ' '))
end

-- Read a counted list from ARGV: gives the items and where the next one starts.
local function take(from)
  local items, n = {}, tonumber(ARGV[from])
  for i = 1, n do items[i] = ARGV[from + i] end
  return items, from + n + 1
end
