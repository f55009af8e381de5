-- Put in front of every script. Lua allows 200 local variables, and a function is one: those about one thing are in a
-- table (`rates`, `fair`, `dependents`, `parents`).
local call, try_call = redis.call, redis.pcall
-- The keys of one group always come in this order, then, if a priority class other than 0 is in use, the live
-- streams of these classes, then the task keys the script needs.
local NEW, AGAIN, DELAYED, PARKED, HISTORY, FAILED, NOTES = 1, 2, 3, 4, 5, 6, 7
local GATES, LINES, TURNS, EXPIRIES, DEPENDENTS = 8, 9, 10, 11, 12
local OWN = 12 -- how many these are
local MAX_FIELDS = 4000 -- Lua's unpack gives up near 8,000 values
local MAX_PACKED = 200000 -- values in one packed field; what has more was not written by us
local DEDUPE_MS = 3600000
local PLACES = { -- by the first letter of a task's value
  n = NEW, a = AGAIN, d = PARKED, g = PARKED, w = PARKED, h = HISTORY, f = FAILED,
  P = OWN + 1, Q = OWN + 2, R = OWN + 3, S = OWN + 4, T = OWN + 5, U = OWN + 6, V = OWN + 7, W = OWN + 8,
}
local NEW_OF = {a = 'n', P = 'Q', R = 'S', T = 'U', V = 'W'} -- of a class, by the place to which it comes back
local FAIR = 'fair:' -- and that place: the fair line of a class in LINES; no gate has such a name
-- The places of what is ready or in flight, with those to which it comes back.
local COMES_BACK = {n = 'a', a = 'a', P = 'P', Q = 'P', R = 'R', S = 'R', T = 'T', U = 'T', V = 'V', W = 'V'}
local LAST = '18446744073709551615' -- the largest number in the id of an entry
local MAX_WAITING = 60000 -- bytes of channel names that are kept with one task
local MAX_TOLD = 8192 -- bytes of a record that is published with the end of its task
local UNLIMITED = 2 ^ 53
local TURN = ':turns' -- a member of DELAYED, due at once, while there are TURNS: it costs no look of its own
local EXPIRY = ':expiries' -- a member of DELAYED, due when the first of EXPIRIES may be, for the same reason
local MAX_SHARE = 1000000
local HEADS = 256 -- tasks in lines that one look returns
local LOOKS = 16 -- at 64 gates each, without a task whose turn it is
local SWEEP = 5000 -- ms between two looks at what rates have spent
local UNFINISHED = ':unfinished' -- a field of DEPENDENTS: how many wait for what was not stored yet
local STARTED = ':started' -- and how many do not wait any more
local UNFINISHED_MS = 3600000
local LOOK = ':dependents' -- a member of DELAYED, due when some of DEPENDENTS are looked at
local LOOK_MS = 60000 -- between two such looks
local MAX_EDGES, MAX_AFTER = 32, 256

-- The number of the keys of a group, of which one is KEYS[first].
local function own_size(first)
  local key = KEYS[first + OWN] -- else a task key, or the first key of another group
  return key == KEYS[first + AGAIN - 1] .. ':2' and PLACES.W or OWN
end

local FIRST_TASK = 1 + own_size(1)

-- The server's time in µs. All that a script does is done at one moment.
local moment
local function now_us()
  if not moment then
    local time = call('TIME')
    moment = time[1] * 1000000 + time[2]
  end
  return moment
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- The same, rounded up, so that a delay that begins now does not end early.
local function next_ms()
  return math.ceil(now_us() / 1000)
end

-- Let this script write although Redis is out of memory. Redis then refuses a script whose first write needs memory;
-- this write needs none. For scripts that make room, end tasks or look; never for those that accept new work.
local are_writes_allowed = false
local function allow_writes(stream, group)
  if are_writes_allowed then return end
  call('XACK', stream, group, '0-0')
  are_writes_allowed = true
end

-- Lua would write a large number as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
end

-- Set a version that was never used before, not even by a server that has lost its data since: a producer must notice
-- that its list of groups is out of date.
local function groups_changed(meta)
  local time = call('TIME')
  call('HSET', meta, 'version', time[1] .. '.' .. time[2])
end

local function slice(list, from, count)
  if count <= MAX_FIELDS then return {unpack(list, from, from + count - 1)} end
  local part = {}
  for i = from, from + count - 1 do part[#part + 1] = list[i] end
  return part
end

-- The value of a field, or nil. If a name occurs twice, its last value counts, as it does in Python.
local function field(fields, name)
  for i = #fields - 1, 1, -2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return nil
end

local function remove_field(fields, name)
  local count, kept = #fields, 0
  for i = 1, count, 2 do
    if fields[i] ~= name then
      kept = kept + 2
      fields[kept - 1], fields[kept] = fields[i], fields[i + 1]
    end
  end
  for i = count, kept + 1, -1 do fields[i] = nil end
end

local function set_field(fields, name, value)
  for i = #fields - 1, 1, -2 do
    if fields[i] == name then
      fields[i + 1] = value
      return
    end
  end
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

local function count_up(fields, name, start)
  set_field(fields, name, int((tonumber(field(fields, name)) or start) + 1))
end

-- Keep the line of a run that did not end the task with its message: at most 5 of 2,048 bytes, the newest.
local function remember_run(fields, line)
  if not line or line == '' then return end
  local lines, size = {}, 0
  for one in string.gmatch(field(fields, 'past') or '', '[^\n]+') do lines[#lines + 1] = one end
  lines[#lines + 1] = line
  local kept = #lines + 1
  for i = #lines, 1, -1 do
    size = size + #lines[i] + 1
    if #lines - i >= 5 or size > 2049 then break end
    kept = i
  end
  set_field(fields, 'past', table.concat(lines, '\n', kept))
end

-- Names and values as one text: each after its length and a colon.
local function pack(values)
  local parts = {}
  for i = 1, #values do parts[i] = #values[i] .. ':' .. values[i] end
  return table.concat(parts)
end

-- An entry with more fields than Lua can pass on is stored as one field. Another program may have written such a field:
-- one that `pack` would not write stays as it is.
local function unpacked(fields)
  if #fields ~= 2 or fields[1] ~= 'packed' then return fields end
  local text, values, at = fields[2], {}, 1
  while at <= #text do
    local digits = string.match(string.sub(text, at, at + 10), '^(%d+):')
    local first = digits and at + #digits + 1
    local last = digits and first + tonumber(digits) - 1
    if not digits or last > #text or #values == MAX_PACKED then return fields end
    values[#values + 1] = string.sub(text, first, last)
    at = last + 1
  end
  return #values > 0 and #values % 2 == 0 and values or fields
end

-- The fields of a message with the first `peek` bytes of its arguments, how many bytes these have, and all fields.
-- Another value that is very long is cut too.
local LONGEST = 16384
local function outlined(fields, peek)
  local short, body, whole = {}, 0, 0
  for i = 1, #fields - 1, 2 do
    local name, value = fields[i], fields[i + 1]
    whole = whole + #name + #value
    if name == 'body' then body = #value end
    local is_long = name == 'body' or #value > LONGEST
    short[i], short[i + 1] = string.sub(name, 1, LONGEST), is_long and string.sub(value, 1, peek) or value
  end
  return short, body, whole
end

-- A text that ends with packed values, of which `head` matches what comes before them, with the first `peek` bytes of
-- the value of the name `value`; and how many bytes it has.
local function outlined_value(text, head, peek)
  local before, rest = string.match(text, '^(' .. head .. ')(.*)$')
  local values, size = rest and unpacked({'packed', rest}) or {}, 0
  for i = 1, #values - 1, 2 do
    if values[i] == 'value' then
      size, values[i + 1] = #values[i + 1], string.sub(values[i + 1], 1, peek)
    end
  end
  return size > peek and before .. pack(values) or text, size
end

-- Whether a text may be the id of a stream entry: Redis refuses numbers beyond 64 bits.
local function entry_id(text)
  local ms, sequence = string.match(text, '^(%d+)%-(%d+)$')
  return ms and (#ms < 20 or #ms == 20 and ms <= LAST) and (#sequence < 20 or #sequence == 20 and sequence <= LAST)
end

-- The fields of one stream entry, or nil when there is none.
local function read(stream, entry)
  if not entry_id(entry) then return nil end
  local found = call('XRANGE', stream, entry, entry)
  return found[1] and unpacked(found[1][2])
end

-- Create an empty stream again if it has no ids left, because another program has used the last one.
local function renew(stream)
  if call('TYPE', stream).ok ~= 'stream' or call('XLEN', stream) > 0 then return end
  if field(call('XINFO', 'STREAM', stream), 'last-generated-id') ~= LAST .. '-' .. LAST then return end
  local groups = call('XINFO', 'GROUPS', stream)
  call('DEL', stream)
  for _, group in ipairs(groups) do
    call('XGROUP', 'CREATE', stream, field(group, 'name'), '0', 'MKSTREAM')
  end
end

local function append(stream, fields)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local entry = try_call('XADD', stream, '*', unpack(fields))
  if type(entry) == 'string' then return entry end
  renew(stream)
  return call('XADD', stream, '*', unpack(fields))
end

-- Add a message to the history, which keeps `limit` entries, or all if there is no limit. If the history cannot take
-- it (another program has put something else at its key, or has used up its ids), the task has ended all the same.
-- Returns the entry, or '' if there is none.
local function remember(history, fields, limit)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local entry
  if limit then
    entry = try_call('XADD', history, 'MAXLEN', limit, '*', unpack(fields))
  else
    entry = try_call('XADD', history, '*', unpack(fields))
  end
  return type(entry) == 'string' and entry or ''
end

-- The holder of an entry of a live stream, and the ms since its claim or its last extension, or nil. With min_idle:
-- only if these are at least so many.
local function holder(stream, group, entry, min_idle)
  if not entry_id(entry) then return nil end
  local found
  if min_idle then
    found = call('XPENDING', stream, group, 'IDLE', min_idle, entry, entry, 1)
  else
    found = call('XPENDING', stream, group, entry, entry, 1)
  end
  if found[1] then return found[1][2], found[1][3] end
end

-- Remove entries whose tasks were settled. To trim is cheaper than to delete, if they are exactly the first ones of the
-- stream. are_all: whether they are all entries from `first` up to `behind`, which is '' if there is no such id.
local function remove_settled(stream, group, entries, are_all, first, behind)
  if #entries == 0 then return end
  call('XACK', stream, group, unpack(entries))
  if are_all and #entries > 1 and behind ~= '' and call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1] == first then
    call('XTRIM', stream, 'MINID', behind)
  else
    call('XDEL', stream, unpack(entries))
  end
end

-- Whether one whole number is less than another, both written without leading zeros: fencing tokens and the ids of
-- entries have more digits than a Lua number holds.
local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

-- Whether the id of an entry is greater than another.
local function is_later(entry, other)
  local ms, sequence = string.match(entry, '^(%d+)%-(%d+)$')
  local other_ms, other_sequence = string.match(other, '^(%d+)%-(%d+)$')
  return below(other_ms, ms) or ms == other_ms and below(other_sequence, sequence)
end

-- Where a group stands in a live stream, or nil if the group is gone.
local function position(stream, group)
  for _, info in ipairs(call('XINFO', 'GROUPS', stream)) do
    if field(info, 'name') == group then return field(info, 'last-delivered-id') end
  end
end

-- A paused group stands at the end of all ids in its live streams, so that nothing is handed out. The meta hash has
-- where it stood before, by the place of the stream; this returns nil for a group that is not paused.
local AT_END = LAST .. '-' .. LAST
local function paused_at(meta, group)
  local saved = call('HGET', meta, 'paused:' .. group)
  if not saved then return nil end
  local positions = {}
  for place, entry in string.gmatch(saved, '(%a)(%d+%-%d+)') do positions[place] = entry end
  return positions
end

local function save_paused(meta, group, positions)
  local parts = {}
  for place, entry in pairs(positions) do parts[#parts + 1] = place .. entry end
  table.sort(parts)
  call('HSET', meta, 'paused:' .. group, table.concat(parts, ' '))
end

-- The id up to which the entries of a live stream count as handed out, or nil if the group is gone.
-- paused: as `paused_at` has found it
local function last_handed_out(stream, group, paused, place)
  local last = position(stream, group)
  return last == AT_END and paused and paused[place] or last
end

-- Whether the note `started` of a task, the entry that was claimed and when, is about this entry, not an earlier one.
local function started_with(started, entry)
  return started and string.match(started, '^(%d+%-%d+) %d+$') == entry
end

-- A number of ms, or nil for anything else that another program may have written: Redis would not work with it.
local function ms(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

-- Whether a record can still be read: when its task ended, and its ttl, as they are stored.
local function is_readable(ended, ttl, now)
  ended, ttl = ms(ended), ms(ttl)
  return ended and ttl and ended + ttl > now
end

-- Tell those who listen. Where an ACL forbids that, they find what is new when they look by themselves.
local function publish(channel, message) try_call('PUBLISH', channel, message) end

-- Tell every client that waits for this task to look again. Nothing is published on channels of other queues.
-- key: any key of the group but the first stream, which has no prefix. value: that of a task that has ended and has its
-- record in it; a client whose name begins with '+' is told it too, if it is small, and needs not look.
local function announce(key, channels, id, value)
  if not channels then return end
  channels = string.sub(channels, -2 * MAX_WAITING)
  local ours = string.match(key, '^%b{}:') .. 'wake:'
  local all = value and #value <= MAX_TOLD and id .. ' ' .. value or id
  for channel in string.gmatch(channels, '[^,]+') do
    if string.sub(channel, 1, #ours + 1) == ours .. '+' then
      publish(channel, all)
    elseif string.sub(channel, 1, #ours) == ours then
      publish(channel, id)
    end
  end
end

-- Some fields of a hash. If another program has put something else at its key, that is deleted, so that it cannot
-- stop a script half way.
local function fields_of(key, ...)
  local found = try_call('HMGET', key, ...)
  if found.err then
    call('DEL', key)
    return {}
  end
  return found
end

-- A task as its value describes it: the place and the entry of its message; `more` if something about it stands
-- elsewhere (its notes, or the record of an ended one); of an ended one the time, the ttl and the state, as texts.
-- An empty table for what is not the value of a task.
local function parse(text)
  local place, more, entry = string.match(text, '^([nadghwfP-W])(%+?)([%d-]*)')
  if not place then return {} end
  local ended, ttl, state
  if place == 'h' or place == 'f' then
    ended, ttl, state = string.match(text, '^ (%d*) (%d+) (%d)', 1 + #place + #more + #entry)
    if ended == '' then ended = string.match(entry, '^%d+') end
  end
  return {text = text, place = place, more = more == '+', entry = entry, ended = ended, ttl = ttl, state = state}
end

-- The end of a task as its value has it. The entry has the time too, unless there is none, or the clock has gone back.
local function ended_as(entry, time, ttl)
  if string.sub(entry, 1, #time + 1) == time .. '-' then time = '' end
  return entry .. ' ' .. time .. ' ' .. ttl .. ' '
end

-- The task at a key; an empty table if there is none. What another program has put there is dealt with as above.
local function task_at(key)
  local text = try_call('GET', key)
  if type(text) == 'table' then
    call('DEL', key)
    text = false
  end
  return text and parse(text) or {}
end

-- Say where the message of a task is that has not ended.
local function set_place(key, place, more, entry)
  call('SET', key, place .. (more and '+' or '') .. entry)
end

-- Some notes about a task that has not ended. They are in one hash of the group: what is usual needs none.
local function notes_of(keys, id, ...)
  local names = {...}
  for i, name in ipairs(names) do names[i] = name .. ':' .. id end
  return fields_of(keys[NOTES], unpack(names))
end

local function drop_notes(keys, id)
  try_call('HDEL', keys[NOTES], 'waiters:' .. id, 'cancel:' .. id, 'progress:' .. id, 'started:' .. id, 'lock:' .. id,
    'begun:' .. id)
end

-- Write a note. The task says so before: a note that its task does not know of would show in a later life of the id.
local function note(keys, key, task, id, name, value)
  if not task.more then
    drop_notes(keys, id)
    task.more = true
    set_place(key, task.place, true, task.entry)
  end
  local written = try_call('HSET', keys[NOTES], name .. ':' .. id, value)
  if type(written) == 'table' then
    fields_of(keys[NOTES], name) -- which deletes what is not a hash
    call('HSET', keys[NOTES], name .. ':' .. id, value)
  end
end

-- Steps and events of a task (L14) are notes too: each under the id and its name, which begins with `s` or `e`. The
-- note `steps` has the names, each with an empty text behind it. They are kept with a failed task.
local function kept_names(keys, id)
  local index = notes_of(keys, id, 'steps')[1]
  local names = index and unpacked({'packed', index}) or {}
  return names[1] ~= 'packed' and names or {}
end

local function keep_step(keys, key, task, id, name, value)
  local names = kept_names(keys, id)
  if not field(names, name) then
    names[#names + 1], names[#names + 2] = name, ''
    note(keys, key, task, id, 'steps', pack(names))
  end
  call('HSET', keys[NOTES], 'step:' .. id .. ':' .. name, value)
end

-- index: the note `steps`, or nil
local function drop_steps(keys, id, index)
  local names = index and unpacked({'packed', index}) or {}
  for i = 1, names[1] ~= 'packed' and #names or 0, 2 do
    try_call('HDEL', keys[NOTES], 'step:' .. id .. ':' .. names[i])
  end
  if index then try_call('HDEL', keys[NOTES], 'steps:' .. id) end
end

-- The kind and the name of a lock, as it stands in a message; nothing for any other text.
local function lock_of(text)
  if not text or #text ~= 33 then return nil end
  return string.match(text, '^([fsdw])([0-9a-f]+)$')
end

-- The task that holds a lock, and the time of its first call for one that ends by time, or nil. The note `unique` has
-- the id of the task; for a debounced one followed by when it is due, and when its first call was.
local function holder_of(keys, name, now)
  local id, due, first = string.match(fields_of(keys[NOTES], 'unique:' .. name)[1] or '', '^([^ ]+) ?(%d*) ?(%d*)$')
  if id and (due == '' or (ms(due) or 0) > now) then return id, ms(first) end
end

-- Note that a task holds a lock. The value of the task says that it has notes. due: nil for a lock that is given back.
-- again: the task has held it before, and keeps its other notes: clients may wait for it.
local function take_lock(keys, id, lock, due, first, again)
  local _, name = lock_of(lock)
  local held = due and id .. ' ' .. int(due) .. ' ' .. int(first) or id
  if not again then drop_notes(keys, id) end
  call('HSET', keys[NOTES], 'unique:' .. name, held, 'lock:' .. id, lock)
end

-- Give back the lock that is noted about a task, if the task still holds it.
local function give_back(keys, id, lock)
  local _, name = lock_of(lock)
  local held = name and fields_of(keys[NOTES], 'unique:' .. name)[1]
  if held and string.match(held, '^[^ ]*') == id then call('HDEL', keys[NOTES], 'unique:' .. name) end
end

-- The keys of the group that are of their type. Each is checked once a call.
local sound = {}

-- Stop the script, before its first write, if a key of the group is of another type.
local function check(keys, place)
  local key = keys[place]
  if sound[key] then return end
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= (place == DELAYED and 'zset' or 'stream') then
    error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', put there by another program: rename or delete it')
  end
  sound[key] = true
end

local function check_delayed(keys)
  check(keys, PARKED)
  check(keys, DELAYED)
end

-- Check that a message can come back, from this place.
local function check_again(keys, delay, place)
  if delay > 0 then check_delayed(keys) else check(keys, PLACES[COMES_BACK[place]]) end
end

-- Check that it can be noted what the move of a message does to others: that gates have room, or that tasks may start.
local function check_others(keys, fields)
  if field(fields, 'gates') or field(fields, 'flow') then check(keys, DELAYED) end
end

-- The live streams of a group that are there.
local function live_streams(keys)
  local found = {{'n', keys[NEW]}, {'a', keys[AGAIN]}}
  for place in string.gmatch('PQRSTUVW', '.') do
    local key = keys[PLACES[place]]
    if key and call('EXISTS', key) == 1 then found[#found + 1] = {place, key} end
  end
  return found
end

-- Whether a task is in a stream whose key the caller did not give: its priority class has come into use since the
-- caller looked. The script then returns what it has done.
local function is_elsewhere(keys, task)
  return task.place and not keys[PLACES[task.place]]
end

-- The places of a message by its priority: of what came back, and of what is new.
local function places_of(fields)
  local text = string.match(field(fields, 'priority') or '', '^%-?%d+$')
  local priority = text and #text <= 17 and tonumber(text) or 0
  if priority >= 50 then return 'P', 'Q' end
  if priority > 0 then return 'R', 'S' end
  if priority == 0 then return 'a', 'n' end
  if priority > -50 then return 'T', 'U' end
  return 'V', 'W'
end

-- The place to which a message comes back that was not ready, by its priority: in class 0 if its class is not in use,
-- as no claim reads its stream; nil if the caller did not give that key.
local function place_back(keys, fields)
  local place = places_of(fields)
  if place == 'a' or not keys[PLACES[place]] then return place == 'a' and place or nil end
  return call('EXISTS', keys[PLACES[place]]) == 1 and place or 'a'
end

-- Add a message to a live stream other than that of new messages of class 0. Its entry takes its id from that one, so
-- that fencing tokens, which are made of the ids, grow from claim to claim, whichever streams the entries are in, and
-- the ids of all streams are in the order in which their messages became ready.
local function add_in_order(keys, stream, fields)
  local entry = append(keys[NEW], {'', ''})
  call('XDEL', keys[NEW], entry)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local added = try_call('XADD', stream, entry, unpack(fields))
  return type(added) == 'string' and added or append(stream, fields) -- another program has added a later one
end

-- Tell the supervisors if the next message to be due is this one: they may sleep until a later moment.
local function hasten(delayed, id, delay)
  if call('ZRANK', delayed, id) == 0 then publish(delayed, int(delay)) end
end

-- When a task expires, as EXPIRIES says; nil for one that does not. What another program has put there is deleted.
local function expiry_of(keys, id)
  local score = try_call('ZSCORE', keys[EXPIRIES], id)
  if type(score) == 'table' and score.err then call('DEL', keys[EXPIRIES]) end
  return type(score) == 'string' and tonumber(score) or nil
end

-- Note when a message that is to wait expires. One that comes back keeps that time; if it is past, its task ends soon.
local function note_expiry(keys, id, fields)
  local expires = ms(field(fields, 'expires'))
  if not expires or expires == 0 then return end
  local noted, now = expiry_of(keys, id), now_ms()
  if noted == math.huge then expires = math.min(expires, now) end
  if noted and noted ~= math.huge then return end
  check(keys, DELAYED)
  call('ZADD', keys[EXPIRIES], int(expires), id)
  if call('ZRANK', keys[EXPIRIES], id) == 0 then
    call('ZADD', keys[DELAYED], int(expires), EXPIRY)
    hasten(keys[DELAYED], EXPIRY, math.max(0, expires - now))
  end
end

-- Have the next look at EXPIRIES when its first member is due.
local function await_expiry(keys)
  local first = call('ZRANGE', keys[EXPIRIES], 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) < 2 ^ 53 then
    call('ZADD', keys[DELAYED], first[2], EXPIRY)
  else
    call('ZREM', keys[DELAYED], EXPIRY)
  end
end

local function drop_expiry(keys, id, fields)
  if field(fields, 'expires') then try_call('ZREM', keys[EXPIRIES], id) end
end

-- Limits. A message with gates is ready or in flight only with a token of each gate, which its field `_tokens` says.
-- Without them it waits in the line of one of the gates, as `_gate` and `_order` say. The hash GATES has the numbers of
-- the limits, and the tokens that are out; LINES has the lines, as texts that sort by gate and order; TURNS has the
-- gates that have room and a line.

-- Delete what another program has put at the keys of the limits, so that it cannot stop a script half way.
local function check_gates(keys)
  for place, kind in pairs({[GATES] = 'hash', [LINES] = 'zset', [TURNS] = 'zset'}) do
    if not sound[keys[place]] then
      local found = call('TYPE', keys[place]).ok
      if found ~= 'none' and found ~= kind then call('DEL', keys[place]) end
      sound[keys[place]] = true
    end
  end
end

-- The gates at which a message asks: none if it is doomed.
local function gates_of(fields)
  local gates, text = {}, field(fields, 'gates')
  if not text or field(fields, 'doomed') then return gates end
  for gate in string.gmatch(text, '[^ ]+') do gates[#gates + 1] = gate end
  return gates
end

-- What is stored about a gate: the number for its key, which counts before that of its limit, what was set for that,
-- what the code has declared, another field, and whether the key or the limit is paused.
local function stored_of(keys, gate, kind)
  local limit = string.match(gate, '^[^/]*')
  local name = string.gsub(gate, '^rate:', '')
  local own, set, declared, more, paused, all_paused = unpack(call('HMGET', keys[GATES], 'limit:' .. gate,
    'limit:' .. limit, 'default:' .. limit, kind .. gate, 'paused:' .. name, 'paused:' .. string.match(name, '^[^/]*')))
  return own, set, declared, more, paused == '1' or all_paused == '1'
end

-- Rates. A gate of a rate has room when one more task may start, as `pyxqueue.model.rates` says. Its field `spent` has
-- two times in µs: what the tasks that were admitted have spent, and those that have started.
local rates = {known = {}}

local function is_rate(gate)
  return string.sub(gate, 1, 5) == 'rate:'
end

-- A pace as it is stored, or nil for any other text.
function rates.pace(text)
  local count, period, burst = string.match(text or '', '^(%d+)/(%d+)/(%d+)$')
  count, period, burst = ms(count), ms(period), ms(burst)
  if not count or not period or not burst or period == 0 or burst == 0 then return nil end
  local interval = math.ceil(period / math.max(1, count))
  if interval * burst > 2 ^ 50 then return nil end
  return {interval = interval, burst = burst, stopped = count == 0}
end

-- The rate of a gate: its pace, and what is spent there, without what this pace cannot have made of it. A script reads
-- it once.
function rates.at(keys, gate)
  local at = keys[GATES] .. gate
  if rates.known[at] then return rates.known[at] end
  local own, set, declared, spent, paused = stored_of(keys, gate, 'spent:')
  local rate = rates.pace(own) or rates.pace(set) or rates.pace(declared) or {}
  rate.stopped = rate.stopped or paused
  local admitted, started = string.match(spent or '', '^(%d+)/(%d+)$')
  rate.gate, rate.admitted, rate.started = gate, ms(admitted) or 0, ms(started) or 0
  local most = rate.interval and now_us() + rate.interval * rate.burst or math.huge
  rate.is_bounded = math.max(rate.admitted, rate.started) > most
  rate.admitted, rate.started = math.min(rate.admitted, most), math.min(rate.started, most)
  rates.known[at] = rate
  return rate
end

-- When one more task may start, if so much is spent: in µs.
function rates.opening(rate, spent)
  if rate.stopped then return math.huge end
  return rate.interval and spent - rate.interval * (rate.burst - 1) or 0
end

function rates.spent(rate)
  return math.max(rate.admitted, rate.started)
end

function rates.keep(keys, rate)
  call('HSET', keys[GATES], 'spent:' .. rate.gate, int(rate.admitted) .. '/' .. int(rate.started))
  rate.is_bounded = false
end

-- The rate of a gate, with what must not be forgotten: that it was bounded by the time of now.
function rates.bounded(keys, gate)
  local rate = rates.at(keys, gate)
  if rate.is_bounded then rates.keep(keys, rate) end
  return rate
end

-- When to look whether what a rate has spent is over: in ms.
function rates.sweep_at(rate)
  return (math.ceil(rates.spent(rate) / 1000 / SWEEP) + 1) * SWEEP
end

-- How many tokens of a gate can be given out, or how many tasks its rate admits.
local function room(keys, gate)
  if is_rate(gate) then
    local now, rate = now_us(), rates.at(keys, gate)
    if rate.stopped then return 0 end
    if not rate.interval then return UNLIMITED end
    local opens = rates.opening(rate, math.max(now, rates.spent(rate)))
    return opens > now and 0 or math.floor((now - opens) / rate.interval) + 1
  end
  local own, set, declared, used, paused = stored_of(keys, gate, 'used:')
  if paused then return 0 end
  return (ms(own) or ms(set) or ms(declared) or UNLIMITED) - (ms(used) or 0)
end

-- Count a number of GATES up or down. What is no such number was written by another program, and counts as 0.
local function count_in_gates(keys, name, change)
  local number = try_call('HINCRBY', keys[GATES], name, change)
  if type(number) == 'number' and number >= change and number < UNLIMITED then return number end
  call('HSET', keys[GATES], name, change)
  return change
end

local function count_tokens(keys, gate, change)
  local name = 'used:' .. gate
  if count_in_gates(keys, name, change) <= 0 then call('HDEL', keys[GATES], name) end
end

local function in_line(gate, order, id)
  return gate .. '\0' .. order .. '\0' .. id
end

-- The first in the line of a gate, at most `count`.
local function heads_of(keys, gate, count)
  return call('ZRANGEBYLEX', keys[LINES], '[' .. gate .. '\0', '(' .. gate .. '\1', 'LIMIT', 0, count)
end

-- Have a gate looked at, at a time in ms at the latest. Returns whether TURN is due earlier than before.
local function look_at(keys, gate, at)
  call('ZADD', keys[TURNS], 'LT', int(at), gate)
  return call('ZADD', keys[DELAYED], 'LT', 'CH', int(at), TURN) == 1
end

-- Keep what a rate has spent, and have it looked at when that is over.
function rates.spend(keys, rate)
  rates.keep(keys, rate)
  if not rate.is_watched then look_at(keys, rate.gate, rates.sweep_at(rate)) end
  rate.is_watched = true
end

-- Note that a gate has room and a line, or when it has. The caller of the script admits the next; the supervisors are
-- told, too.
local turns = {noted = false}
local function note_turn(keys, gate)
  local now, at = now_ms(), math.huge
  if not is_rate(gate) then
    if room(keys, gate) > 0 then at = now end
  else
    local rate = rates.bounded(keys, gate)
    at = math.max(now, math.ceil(rates.opening(rate, rates.spent(rate)) / 1000))
  end
  if at == math.huge or #heads_of(keys, gate, 1) == 0 then return end
  if at == now then turns.noted = true end
  if look_at(keys, gate, at) then hasten(keys[DELAYED], TURN, at - now) end
end

-- It is not the turn of a gate: note when it is, or when what its rate has spent is over, or nothing.
local function put_off(keys, gate, now)
  local at
  if is_rate(gate) then
    local rate = rates.bounded(keys, gate)
    local opens = #heads_of(keys, gate, 1) > 0 and rates.opening(rate, rates.spent(rate)) or math.huge
    if opens < math.huge then
      at = math.max(now + 1, math.ceil(opens / 1000))
    elseif rates.spent(rate) > now_us() then
      at = math.max(now + 1, rates.sweep_at(rate))
    else
      call('HDEL', keys[GATES], 'spent:' .. gate)
    end
    rate.is_watched = at ~= nil
  end
  if at then call('ZADD', keys[TURNS], int(at), gate) else call('ZREM', keys[TURNS], gate) end
end

-- Have the next look at TURNS when its first member is due.
local function await_turn(keys)
  local first = call('ZRANGE', keys[TURNS], 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) < 2 ^ 53 then
    call('ZADD', keys[DELAYED], first[2], TURN)
  else
    call('ZREM', keys[DELAYED], TURN)
  end
end

-- Note the turns of the gates from one place of the lines up to another: of HEADS gates. Where to go on is a member of
-- TURNS that begins with a NUL, as no gate does: so a supervisor goes on if the caller does not. Returns it too; '' at
-- the end.
local function note_turns(keys, from, last)
  call('ZREM', keys[TURNS], '\0' .. from .. '\0' .. last)
  for _ = 1, HEADS do
    local standing = call('ZRANGEBYLEX', keys[LINES], '[' .. from, '(' .. last, 'LIMIT', 0, 1)[1]
    if not standing then return '' end
    local gate = string.match(standing, '^[^%z]*')
    note_turn(keys, gate)
    from = gate .. '\1'
  end
  look_at(keys, '\0' .. from .. '\0' .. last, now_ms())
  return from
end

-- The tasks whose turn it is, as they stand in their lines; no more of each gate than it has room for. Gates that have
-- none are put off, until some are found; it goes on in the lines once.
local function whose_turn(keys)
  local has_gone_on, now = false, now_ms()
  for _ = 1, LOOKS do
    local found, gates, rest = {}, call('ZRANGEBYSCORE', keys[TURNS], '-inf', int(now), 'LIMIT', 0, 64), nil
    for _, gate in ipairs(gates) do
      if string.sub(gate, 1, 1) == '\0' then
        rest = gate
      else
        local free = room(keys, gate)
        local heads = free > 0 and heads_of(keys, gate, math.min(free, HEADS - #found)) or {}
        if #heads == 0 and #found < HEADS then put_off(keys, gate, now) end
        for _, head in ipairs(heads) do found[#found + 1] = head end
      end
    end
    if #found > 0 or rest and has_gone_on then return found end
    if rest then
      has_gone_on = true
      call('ZREM', keys[TURNS], rest)
      local from, last = string.match(rest, '^%z([^%z]+)%z([^%z]+)$')
      if from then note_turns(keys, from, last) end
    elseif #gates < 64 then
      await_turn(keys)
      return found
    end
  end
  return {}
end

-- Flows. A task that waits for others is in PARKED, at the place `w`. The hash DEPENDENTS has for its id: for how many
-- it waits, how many of these were not stored yet, how many have ended so that it must not run, when it is due, its
-- flow, and what dooms it, if something does. When it may start, or is doomed, it is delayed until now: `promote` makes
-- it ready, which knows the key of the task. So it is while not all it waits for were stored: when it is due then,
-- nobody stores the rest. Once it does not wait, a `-` stands before the numbers, which are kept until it ends, or as
-- long as it is with the failed tasks: if others are retried, it can wait for them again.
local dependents = {}

-- The ids of tasks that may start: the caller of the script promotes them at once.
local started = {}

-- The reply of a script that may have freed tokens, or ended tasks: its results, then the tasks whose turn it is, and
-- the ids of those that may start, each after a \1.
local function with_turns(keys, results)
  for _, head in ipairs(turns.noted and whose_turn(keys) or {}) do results[#results + 1] = head end
  for _, id in ipairs(started) do results[#results + 1] = '\1' .. id end
  return results
end

local function flow_of(fields)
  local flow = field(fields, 'flow')
  return flow and #flow <= 64 and string.match(flow, '^[%w_.-]+$')
end

-- How many tasks a message waits for.
local function number_after(fields)
  local number, texts = 0, 0
  for text in string.gmatch(flow_of(fields) and field(fields, 'after') or '', '[^ ]+') do
    local many = string.match(text, '^[%w_.-]+%.%*([1-9]%d*)$')
    texts = texts + 1
    if texts > MAX_AFTER then break end
    number = number + (many and #many <= 7 and tonumber(many) or string.find(text, '*', 1, true) and 0 or 1)
  end
  return number
end

function dependents.at(keys, id)
  local text = fields_of(keys[DEPENDENTS], id)[1]
  local mark, need, absent, bad, due, flow, cause =
    string.match(text or '', '^(%-?)(%d+) (%d+) (%d+) (%d+) ([^ ]+) ?(.*)$')
  need, absent, bad, due = ms(need), ms(absent), ms(bad), ms(due)
  if not need or not absent or not bad or not due then return nil end
  return {has_started = mark == '-', need = need, absent = absent, bad = bad, due = due, flow = flow, cause = cause}
end

function dependents.set(keys, id, one)
  local parts = {int(math.max(0, one.need)), int(one.absent), int(math.max(0, one.bad)), int(one.due), one.flow}
  if one.cause ~= '' then parts[#parts + 1] = one.cause end
  call('HSET', keys[DEPENDENTS], id, (one.has_started and '-' or '') .. table.concat(parts, ' '))
end

-- Count how many tasks are UNFINISHED or STARTED.
function dependents.count(keys, name, change)
  local number = try_call('HINCRBY', keys[DEPENDENTS], name, change)
  if type(number) ~= 'number' then -- written by hand
    number = math.max(0, change)
    call('HSET', keys[DEPENDENTS], name, number)
  end
  if number <= 0 then call('HDEL', keys[DEPENDENTS], name) end
  return number
end

-- Nothing is to be looked at if no task waits any more. has_started: how many of DEPENDENTS do not wait
function dependents.end_looks(keys, has_started)
  local others = has_started > 0 and has_started + 1 or 0
  if call('HLEN', keys[DEPENDENTS]) <= others then call('ZREM', keys[DELAYED], LOOK) end
end

function dependents.may_start(one)
  return one.need <= 0 or one.cause ~= ''
end

-- A task does not wait any more.
function dependents.note_start(keys, id, one)
  if one.absent > 0 then dependents.count(keys, UNFINISHED, -1) end
  one.has_started, one.cause = true, ''
  dependents.set(keys, id, one)
  dependents.end_looks(keys, dependents.count(keys, STARTED, 1))
end

-- A task has ended or is deleted: it will not wait again.
function dependents.drop(keys, id)
  local one = dependents.at(keys, id)
  if not one then return end
  call('HDEL', keys[DEPENDENTS], id)
  if one.has_started then
    dependents.count(keys, STARTED, -1)
  else
    call('ZREM', keys[DELAYED], id)
    if one.absent > 0 then dependents.count(keys, UNFINISHED, -1) end
    dependents.end_looks(keys, ms(call('HGET', keys[DEPENDENTS], STARTED)) or 0)
  end
end

-- A task that is suspended without a time (L14) waits at the place `w` too: for an event, or for its children. Its
-- message has the field `_event`, with the name of the event, as one that is suspended and delayed has. DEPENDENTS has,
-- for a `+` and its id, for how many children it waits, and their flow, or `*` for an event; then the first and the
-- last number of these, if their ids are the flow, a dot and a number: so they can be looked at.
local parents = {}

function parents.at(keys, id)
  local need, flow, numbers = string.match(fields_of(keys[DEPENDENTS], '+' .. id)[1] or '', '^(%d+) ([^ ]+)(.*)$')
  need = ms(need)
  return need and {need = need, flow = flow, numbers = numbers}
end

-- parent: as `parents.at` has it
function parents.set(keys, id, parent)
  call('HSET', keys[DEPENDENTS], '+' .. id, int(math.max(0, parent.need)) .. ' ' .. parent.flow .. parent.numbers)
end

-- Forget what is noted of a suspended task. Its message may be gone.
function parents.drop(keys, id)
  if not fields_of(keys[DEPENDENTS], '+' .. id)[1] then return end
  call('HDEL', keys[DEPENDENTS], '+' .. id)
  call('ZREM', keys[DELAYED], id)
  dependents.end_looks(keys, ms(call('HGET', keys[DEPENDENTS], STARTED)) or 0)
end

-- A suspended task does not wait any more. Returns whether it was one. fields: of its message
function parents.end_wait(keys, id, fields)
  if not field(fields, '_event') then return false end
  remove_field(fields, '_event')
  call('ZREM', keys[DELAYED], id)
  parents.drop(keys, id)
  return true
end

-- Whether no predecessor of a task dooms it. fields: of its message; one: as `dependents.at` has found it
function dependents.may_rejoin(fields, one)
  return not string.find(field(fields, 'doomed') or '', ' ', 1, true) and not (one and one.bad > 0)
end

-- The edges that leave a task, with their policies.
local function edges_of(fields)
  local edges = {}
  for policy, id in string.gmatch(flow_of(fields) and field(fields, 'successors') or '', '([fcw]):([%w_.-]+)') do
    if #edges < MAX_EDGES then edges[#edges + 1] = {policy = policy, id = id} end
  end
  return edges
end

-- Whether an edge has fired, by the place of its task: nil if that has not ended.
local function has_fired(edge, place)
  return place == 'h' or place == 'f' and edge.policy ~= 'w'
end

local function start_soon(keys, id)
  started[#started + 1] = id
  call('ZADD', keys[DELAYED], int(now_ms()), id)
  hasten(keys[DELAYED], id, 0)
end

-- Count for the task at the end of an edge that it has fired; change: 1, or -1 if it has not fired any more. dooms:
-- whether it dooms that task; id: of the task that it leaves
local function count_edge(keys, edge, flow, change, dooms, id)
  local one = dependents.at(keys, edge.id)
  if one and one.flow == flow then
    local may = dependents.may_start(one)
    one.need = one.need - change
    if dooms then one.bad = one.bad + change end
    if dooms and change > 0 and one.cause == '' and not one.has_started then one.cause = id end
    dependents.set(keys, edge.id, one)
    if dependents.may_start(one) and not may and not one.has_started then start_soon(keys, edge.id) end
    return
  end
  local parent = edge.policy == 'c' and parents.at(keys, edge.id)
  if parent and parent.flow == flow then
    parent.need = parent.need - change
    parents.set(keys, edge.id, parent)
    if parent.need <= 0 then start_soon(keys, edge.id) end
  end
end

-- Note at its successors that a task was stored. Of one whose predecessors were all stored, this one was stored before
-- and had ended, so that its id was free: its edge has not fired any more.
-- undone: what this returned, if it is taken back. Returns by id the successors of which one more is stored.
local function note_stored(keys, fields, undone)
  local flow, change, complete = flow_of(fields), undone and -1 or 1, {}
  for _, edge in ipairs(edges_of(fields)) do
    local one = dependents.at(keys, edge.id)
    if one and one.flow == flow and (undone and undone[edge.id] or not undone and one.absent > 0) then
      complete[edge.id] = true
      one.absent = one.absent - change
      dependents.set(keys, edge.id, one)
      local waits = not one.has_started
      if waits and one.absent == (undone and 1 or 0) then dependents.count(keys, UNFINISHED, -change) end
      if not waits then -- it is not in DELAYED for that
      elseif one.absent > 0 and not dependents.may_start(one) then
        call('ZADD', keys[DELAYED], int(now_ms() + UNFINISHED_MS), edge.id)
      elseif not dependents.may_start(one) then
        call('ZREM', keys[DELAYED], edge.id)
      end
    else
      count_edge(keys, edge, flow, -change, false)
    end
  end
  return complete
end

-- Fire the edges of a task that moves from one place to another, or take them back if it had ended and is to run again.
-- success: how it ends, or had ended. A task that is deleted has the place `h` after it.
local function fire(keys, id, fields, from, to, success)
  for _, edge in ipairs(edges_of(fields)) do
    local fires = has_fired(edge, to)
    if fires ~= has_fired(edge, from) then
      count_edge(keys, edge, flow_of(fields), fires and 1 or -1, not success and edge.policy ~= 'c', id)
    end
  end
end

-- The gate at which a message has to wait: the first without room; else the first in whose line an earlier task stands.
local function closed_gate(keys, gates, order)
  for _, gate in ipairs(gates) do
    if room(keys, gate) <= 0 then return gate end
  end
  for _, gate in ipairs(gates) do
    local first = heads_of(keys, gate, 1)[1]
    if first and (not order or (string.match(first, '%z(.*)%z') or '') < order) then return gate end
  end
end

-- Count the tokens of a message that has become ready, and that its rates have admitted it. Its entry comes first:
-- Redis may refuse that.
local function take_tokens(keys, gates)
  for _, gate in ipairs(gates) do
    count_tokens(keys, gate, 1)
    if is_rate(gate) then
      local rate = rates.at(keys, gate)
      if rate.interval then
        rate.admitted = math.max(now_us(), rates.spent(rate)) + rate.interval
        rates.spend(keys, rate)
      end
    end
  end
end

local function has_rate(gates)
  for _, gate in ipairs(gates) do
    if is_rate(gate) then return true end
  end
  return false
end

local TASK_GATE = 'task:/' -- and a task name: the gate at which tasks of that name wait while it is paused

local function is_task_gate(gate)
  return string.sub(gate, 1, #TASK_GATE) == TASK_GATE
end

-- Remove from the fields of a message where it waits, and that it has tokens. Returns these, or nil if there are none.
local function strip_gates(fields)
  local gate, order, has_tokens = field(fields, '_gate'), field(fields, '_order'), field(fields, '_tokens')
  if not gate and not order and not has_tokens then return nil end
  local tag, flow = field(fields, '_tag'), field(fields, '_flow')
  for _, name in ipairs({'_gate', '_order', '_tokens', '_tag', '_flow'}) do remove_field(fields, name) end
  return {gate = gate, order = order, has_tokens = has_tokens, tag = tag, flow = flow}
end

-- Fair lines: what is ready and has a share waits in the line of its class until it is drawn, unless nothing else of
-- the class is ready. LINES has it there by its field `_tag`: the tag, and a number that grows with each that joins.
-- GATES has of each line the last tag that was drawn, and how many have joined; and of each flow (a tenant's new
-- messages, or those that came back) its last tag, and how many of it wait.
local fair = {}

local function is_fair(gate)
  return gate and string.sub(gate, 1, #FAIR) == FAIR
end

-- The share of a message, or nil.
function fair.share(fields)
  local share = ms(field(fields, 'share'))
  return share and share >= 1 and share <= MAX_SHARE and share or nil
end

function fair.flow_at(class, flow, fields)
  return 'flow:' .. class .. ':' .. flow .. ':' .. (field(fields, 'tenant') or '')
end

-- How many messages of a class are in its live streams and not in flight.
function fair.unclaimed(keys, class)
  local prefix, count = string.match(keys[AGAIN], '^(.*):again$'), 0
  for _, place in ipairs({class, NEW_OF[class]}) do
    local stream = keys[PLACES[place]]
    local entries = stream and call('XLEN', stream) or 0
    if entries > 0 then
      count = count + entries
      for _, info in ipairs(call('XINFO', 'GROUPS', stream)) do
        local name = field(info, 'name')
        if string.sub(prefix, -#name - 1) == ':' .. name then
          count = count - field(info, 'pending')
          break
        end
      end
    end
  end
  return count
end

-- The first of each fair line of which nothing is drawn and not claimed: a claimer has died, or is about to draw.
function fair.stalled(keys)
  local heads = {}
  if #call('ZRANGEBYLEX', keys[LINES], '[' .. FAIR, '(fair;', 'LIMIT', 0, 1) == 0 then return heads end
  for class in string.gmatch('PRaTV', '.') do
    local head = keys[PLACES[class]] and heads_of(keys, FAIR .. class, 1)[1]
    if head and fair.unclaimed(keys, class) <= 0 then heads[#heads + 1] = head end
  end
  return heads
end

-- Whether a message that is ready has to join the fair line of its class. If the line has stalled, the supervisors are
-- told.
function fair.must_join(keys, fields, place)
  if not fair.share(fields) then return false end
  check_gates(keys)
  check_delayed(keys)
  local class = COMES_BACK[place]
  local is_empty, count = #heads_of(keys, FAIR .. class, 1) == 0, fair.unclaimed(keys, class)
  if not is_empty and count <= 0 then
    call('ZADD', keys[DELAYED], int(now_ms()), TURN)
    hasten(keys[DELAYED], TURN, 0)
  end
  return not is_empty or count > 0
end

-- Put a message into the fair line of its class. Returns its entry.
function fair.join(keys, id, fields, place)
  local class = COMES_BACK[place]
  local flow = place == class and 'b' or 'n'
  local at = fair.flow_at(class, flow, fields)
  local drawn, known, last = unpack(call('HMGET', keys[GATES], 'drawn:' .. class, at, 'joined:' .. class))
  local tag, waiting = string.match(known or '', '^(%d+) (%d+)$')
  tag = math.max(ms(drawn) or 0, ms(tag) or 0) + fair.share(fields)
  last = (ms(last) or 0) + 1
  local standing = string.format('%016.0f.%016.0f', tag, last)
  set_field(fields, '_gate', FAIR .. class)
  set_field(fields, '_tag', standing)
  set_field(fields, '_flow', flow)
  local entry = append(keys[PARKED], fields)
  call('HSET', keys[GATES], 'joined:' .. class, int(last), at, int(tag) .. ' ' .. int((ms(waiting) or 0) + 1))
  call('ZADD', keys[LINES], 0, in_line(FAIR .. class, standing, id))
  return entry
end

-- Remove a message from its fair line. had: as `strip_gates` has found it
function fair.leave(keys, id, fields, had, is_drawn)
  local class = string.sub(had.gate, #FAIR + 1)
  local at = fair.flow_at(class, had.flow or 'n', fields)
  call('ZREM', keys[LINES], in_line(had.gate, had.tag, id))
  local tag, waiting = string.match(call('HGET', keys[GATES], at) or '', '^(%d+) (%d+)$')
  waiting = (ms(waiting) or 0) - 1
  if waiting > 0 then
    call('HSET', keys[GATES], at, tag .. ' ' .. int(waiting))
  else
    call('HDEL', keys[GATES], at)
  end
  if #heads_of(keys, had.gate, 1) == 0 then
    call('HDEL', keys[GATES], 'drawn:' .. class, 'joined:' .. class)
  elseif is_drawn then
    local last = ms(call('HGET', keys[GATES], 'drawn:' .. class)) or 0
    local drawn = ms(string.match(had.tag, '^%d+')) or 0
    call('HSET', keys[GATES], 'drawn:' .. class, int(math.max(last, drawn)))
  end
end

-- Take from a message that leaves its place its tokens, or its place in a line.
-- had: as `strip_gates` has found it; else the message is gone, or is about to be written elsewhere
local function leave_gates(keys, id, fields, had)
  had = had or strip_gates(fields)
  if not had then return end
  check_gates(keys)
  if is_fair(had.gate) and had.tag then
    fair.leave(keys, id, fields, had)
  elseif had.gate and had.order then
    call('ZREM', keys[LINES], in_line(had.gate, had.order, id))
  end
  if had.has_tokens then
    for _, name in ipairs(gates_of(fields)) do
      count_tokens(keys, name, -1)
      note_turn(keys, name)
    end
  end
end

-- The place of a message in the order of arrival, which it gets if it has none yet.
local function order_of(keys, fields)
  local order = field(fields, '_order')
  if not order then
    order = string.format('%016.0f', count_in_gates(keys, 'order', 1))
    set_field(fields, '_order', order)
  end
  return order
end

-- Put a message into the line of a gate. It keeps its place among those that came before and after it.
local function line_up(keys, id, fields, gate)
  local order = order_of(keys, fields)
  set_field(fields, '_gate', gate)
  local entry = append(keys[PARKED], fields)
  call('ZADD', keys[LINES], 0, in_line(gate, order, id))
  if is_rate(gate) then note_turn(keys, gate) end
  return entry
end

-- Ask for the tokens of a message that is to become ready. Returns the gate at which it has to wait, or nil, and then
-- the gates of which tokens are to be taken once it has been written, if there are any.
local function ask_gates(keys, fields)
  local gates = gates_of(fields)
  if #gates == 0 or field(fields, '_tokens') then return nil end
  check_gates(keys)
  check_delayed(keys)
  local closed = closed_gate(keys, gates, field(fields, '_order'))
  if closed then return closed end
  set_field(fields, '_tokens', '1')
  if has_rate(gates) then order_of(keys, fields) end -- it may be turned away, and keeps its place then
  return nil, gates
end

-- Make a message delayed, or ready if there is no delay: at `place`; or let it wait at a gate that has no room. This is
-- the only way into the live streams. The task key is written last: an error before that must not leave an id that is
-- known but has no message. raw: the entry is not a message, so its fields stay as they are. was_drawn: it has had its
-- turn in a fair line. held_at: the gate of its name, if it has to wait for that.
local function put(keys, key, id, fields, delay, now, raw, place, more, was_drawn, held_at)
  local entry, closed, gates = nil, held_at, nil
  if not raw then note_expiry(keys, id, fields) end
  if delay <= 0 and not raw and not held_at then closed, gates = ask_gates(keys, fields) end
  if closed then
    place, entry = 'g', line_up(keys, id, fields, closed)
  elseif delay > 0 then
    if not raw then set_field(fields, 'due', int(now + delay)) end
    place, entry = 'd', append(keys[PARKED], fields)
    call('ZADD', keys[DELAYED], int(now + delay), id)
  elseif not raw and not was_drawn and fair.must_join(keys, fields, place) then
    place, entry = 'g', fair.join(keys, id, fields, place)
  elseif place == 'n' then
    entry = append(keys[NEW], fields)
  else
    if COMES_BACK[place] == place and not raw then set_field(fields, '_since', int(now)) end
    entry = add_in_order(keys, keys[PLACES[place]], fields)
  end
  if gates then take_tokens(keys, gates) end
  set_place(key, place, more, entry)
  if delay > 0 then hasten(keys[DELAYED], id, delay) end
  return keys[PLACES[place]], entry
end

-- Keep a message that waits for others. one: for how many, as `dependents.at` has it
local function put_dependent(keys, key, id, fields, one, more)
  fields_of(keys[DEPENDENTS], UNFINISHED) -- which deletes what is not a hash
  note_expiry(keys, id, fields)
  if one.due > 0 then set_field(fields, 'due', int(one.due)) end
  local entry = append(keys[PARKED], fields)
  dependents.set(keys, id, one)
  set_place(key, 'w', more, entry)
  call('ZADD', keys[DELAYED], 'NX', int(now_ms() + LOOK_MS), LOOK)
  if one.absent > 0 then
    dependents.count(keys, UNFINISHED, 1)
    call('ZADD', keys[DELAYED], int(now_ms() + UNFINISHED_MS), id)
    hasten(keys[DELAYED], id, UNFINISHED_MS)
  end
  return keys[PARKED], entry
end

-- Let a task wait for others again, which does not wait now.
local function wait_again(keys, key, id, fields, one, more)
  remove_field(fields, 'doomed')
  one.has_started, one.due = false, 0
  put_dependent(keys, key, id, fields, one, more)
  dependents.count(keys, STARTED, -1)
end

-- What `put_new` has put since `all_or_nothing` began: stream, entry, task key, keys of the group, id, fields, and what
-- `note_stored` returned.
local news = {}

-- Make the lifetime of a message that is enqueued a time.
local function stamp_expiry(fields)
  local lifetime = string.match(field(fields, 'expires') or '', '^%+(%d+)$')
  if lifetime then set_field(fields, 'expires', int(now_ms() + lifetime)) end
end

-- Put a message whose id is not known. more: whether there will be notes about it.
local function put_new(keys, key, id, fields, delay, now, more)
  if delay > 0 then check_delayed(keys) end
  check_others(keys, fields)
  local place = 'n'
  if #keys > OWN then
    place = select(2, places_of(fields))
  end
  table.insert(fields, 1, int(now))
  table.insert(fields, 1, 'enqueued')
  stamp_expiry(fields)
  local number, stream, entry = number_after(fields), nil, nil
  if number > 0 then
    check_delayed(keys)
    local one = {need = number, absent = number, bad = 0, due = delay > 0 and now + delay or 0, cause = ''}
    one.flow = flow_of(fields)
    stream, entry = put_dependent(keys, key, id, fields, one, more)
  else
    stream, entry = put(keys, key, id, fields, delay, now, false, place, more)
  end
  news[#news + 1] = {stream, entry, key, keys, id, fields, note_stored(keys, fields)}
end

-- Run an action that puts several messages. If Redis refuses one of the writes (an entry, where a stream has no ids
-- left), what `put_new` has put is removed again.
local function all_or_nothing(action)
  news = {}
  local done, reason = pcall(action)
  if done then return end
  for _, one in ipairs(news) do
    call('XDEL', one[1], one[2])
    call('DEL', one[3])
    call('ZREM', one[4][DELAYED], one[5])
    leave_gates(unpack(one, 4, 6))
    drop_expiry(unpack(one, 4, 6))
    dependents.drop(one[4], one[5])
    note_stored(one[4], one[6], one[7])
  end
  error(reason, 0)
end

-- A task whose message has no id is known by the id of its first entry: note that in the message before it moves.
local function keep_id(fields, id)
  if field(fields, 'id') ~= id then set_field(fields, '_id', id) end
end

-- Put a message that was in flight at `place` back, in the same class. Its progress is cleared.
-- keeps_order: whether it keeps its place in the order of arrival. raw, was_drawn, held_at: as in `put`. A message of a
-- later release is raw too: delayed, it has no token, and asks for it when it is due.
local function put_again(keys, key, task, id, fields, delay, now, raw, place, keeps_order, was_drawn, held_at)
  keep_id(fields, id)
  check_others(keys, fields)
  local had = (not raw or delay > 0) and strip_gates(fields)
  if had then leave_gates(keys, id, fields, had) end
  if had and had.order and keeps_order then set_field(fields, '_order', had.order) end
  local done, reason = pcall(put, keys, key, id, fields, delay, now, raw, COMES_BACK[place], task.more, was_drawn,
    held_at)
  if not done then -- it stays where it is, with its tokens
    for _, gate in ipairs(had and had.has_tokens and gates_of(fields) or {}) do count_tokens(keys, gate, 1) end
    error(reason, 0)
  end
  if task.more then
    call('HDEL', keys[NOTES], 'progress:' .. id)
    announce(keys[DELAYED], notes_of(keys, id, 'waiters')[1], id)
  end
end

-- Add a channel to the text of those that are to be told; returns nil if it is there. Of too many, the oldest are
-- dropped: their clients look again by themselves.
local function with_channel(waiting, channel)
  if not waiting then return channel end
  if string.find(waiting, channel, 1, true) then return nil end
  if #waiting > MAX_WAITING then waiting = string.match(string.sub(waiting, -MAX_WAITING), ',(.*)') end
  return waiting .. ',' .. channel
end

-- A record is its state, a space, and names and values as `pack` writes them. This one is made by the store: with the
-- attempt of the message. Another program may have written the message: anything else there is left out, and read as 1.
local function with_attempt(record, fields)
  local attempt = ms(field(fields, 'attempt'))
  if not attempt or attempt == 1 or attempt >= 2 ^ 31 then return record end
  return record .. pack({'attempt', int(attempt)})
end

-- The progress comes before the other names: that of the record counts, if it has one.
local function with_progress(record, progress)
  return string.sub(record, 1, 2) .. pack({'progress', progress}) .. string.sub(record, 3)
end

-- End a task: move the message to the history or to the failed tasks, store the record, tell the clients that wait.
-- task: as `task_at` has found it. apart: the key of the record if the task key outlives it, so that the record expires
-- by itself. history: its limit; nil for none. mark: {name, value}, added to the message.
-- Returns the new entry, or ''.
local function end_task(keys, key, task, id, fields, place, mark, record, ttl, history, now, apart)
  local entry, time, channels, progress, lock = '', int(now), nil, nil, nil
  check_others(keys, fields or {})
  local had, is_there = fields and strip_gates(fields), fields and #fields > 0
  local is_of_flow = is_there and flow_of(fields)
  if is_there then parents.end_wait(keys, id, fields) else parents.drop(keys, id) end
  if fields and (place == 'f' or not history or history > 0) then
    keep_id(fields, id)
    fields[#fields + 1], fields[#fields + 2] = mark[1], mark[2]
    entry = place == 'f' and append(keys[FAILED], fields) or remember(keys[HISTORY], fields, history)
  end
  -- What it holds is given back when its entry is written: Redis may refuse that, and then it has not ended.
  if task.more and not task.ended then
    local index
    channels, progress, lock, index = unpack(notes_of(keys, id, 'waiters', 'progress', 'lock', 'steps'))
    give_back(keys, id, lock)
    drop_notes(keys, id)
    if place ~= 'f' then drop_steps(keys, id, index) end
  end
  if had then leave_gates(keys, id, fields, had) end
  if place ~= 'f' and (is_of_flow or not is_there) then dependents.drop(keys, id) end
  if is_of_flow then
    fire(keys, id, fields, nil, place, string.sub(record, 1, 1) == '5')
  end
  if is_there then drop_expiry(keys, id, fields) else try_call('ZREM', keys[EXPIRIES], id) end
  if progress then record = with_progress(record, progress) end
  local value = place .. (apart and '+' or '') .. ended_as(entry, time, ttl)
  if apart then
    call('SET', apart, record, 'PX', int(math.max(1, tonumber(ttl))))
    record = string.sub(record, 1, 2)
  end
  value = value .. record
  if place == 'h' then
    call('SET', key, value, 'PX', tonumber(ttl) > DEDUPE_MS and ttl or DEDUPE_MS)
  else
    call('SET', key, value)
  end
  announce(keys[DELAYED], channels, id, not apart and value)
  return entry
end

-- The value of an ended task, and its record, if that has a key of its own; nil if the record is gone.
local function with_record(task, apart, now)
  if not is_readable(task.ended, task.ttl, now) then return nil end
  if not task.more then return {task.text} end
  local record = try_call('GET', apart)
  return type(record) == 'string' and {task.text, record} or nil
end

-- Note the newest failure in the history: a list of failures starts there, and leaves the history out if there is none.
local function note_failure(meta, group, entry)
  if entry ~= '' then call('HSET', meta, 'failure:' .. group, entry) end
end

-- consumer: the holder, '' for a task that waits
local function end_cancelled(keys, key, task, id, fields, history, now, consumer)
  local record = consumer == '' and '6 ' or '6 ' .. pack({'worker', consumer})
  if fields then record = with_attempt(record, fields) end
  end_task(keys, key, task, id, fields, 'h', {'_state', '6'}, record, '86400000', history, now)
end

local function end_expired(keys, key, task, id, fields, history, now)
  local failure = '["Expired","the task had not started when it expired",""]'
  local record = with_attempt('6 ' .. pack({'error', failure}), fields)
  end_task(keys, key, task, id, fields, 'h', {'_state', '6'}, record, '86400000', history, now)
end

-- Whether another program has removed a waiting message from its stream, by XDEL or XTRIM.
local function is_gone(keys, group, task)
  if not task.place or not entry_id(task.entry) then return false end
  local stream = keys[PLACES[task.place]]
  if not stream then return false end
  if COMES_BACK[task.place] then
    -- An error if this is another group than the caller's, and the class is new there: it has an entry and no readers.
    local held = try_call('XPENDING', stream, group, task.entry, task.entry, 1)
    return not held[1] and not read(stream, task.entry)
  end
  return (task.place == 'd' or task.place == 'g' or task.place == 'w') and not read(stream, task.entry)
end

-- Such a task will never run: it ends as a failure, and the history keeps only its id.
local function end_gone(keys, meta, group, key, task, id, now)
  allow_writes(keys[NEW], group)
  call('ZREM', keys[DELAYED], id)
  local failure = '["MessageGone","its message is gone: it was taken out of the stream by hand",""]'
  local record = '4 ' .. pack({'error', failure})
  note_failure(meta, group, end_task(keys, key, task, id, {}, 'h', {'_state', '4'}, record, '86400000', nil, now))
  try_call('HINCRBY', meta, 'gone:' .. group, 1)
end

-- Whether an entry has the message of another task than the caller's, by its id as `message_from_fields` reads it. A
-- server that was restored from a backup, or a replica that lacks the last writes, uses ids of entries again that were
-- those of tasks which it has lost.
local function is_of_other(fields, id, entry)
  for _, name in ipairs(fields and {'id', '_id'} or {}) do
    local own = field(fields, name)
    if own and #own <= 64 and string.find(own, '^[%w_.-]+$') then return own ~= id end
  end
  return fields and entry ~= id
end

-- Whether an id is that of an entry that was written by hand: of a message without an id of its own.
local function is_foreign(keys, id)
  local fields = entry_id(id) and read(keys[NEW], id)
  return fields and not is_of_other(fields, id, id)
end

-- Make the task key of such an entry: it has none until a caller asks for the task. Returns the task.
local function note_foreign(keys, group, key, id)
  if not is_foreign(keys, id) then return {} end
  allow_writes(keys[NEW], group)
  set_place(key, 'n', false, id)
  return task_at(key)
end

-- Whether another program has written a copy of a message into a live stream: its task has another entry, or has ended.
-- As with `enqueue`, a known id changes nothing: the copy is removed.
local function is_copy(keys, group, task, place, entry)
  return task.place and (task.place ~= place or task.entry ~= entry) and not is_gone(keys, group, task)
end
