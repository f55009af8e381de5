-- Put in front of every script.
local call, try_call = redis.call, redis.pcall
-- The keys of one group always come in this order, then the task keys the script needs.
local NEW, AGAIN, DELAYED, PARKED, HISTORY, FAILED, NOTES = 1, 2, 3, 4, 5, 6, 7
local FIRST_TASK = 8
local MAX_FIELDS = 4000 -- Lua's unpack gives up near 8,000 values
local MAX_PACKED = 200000 -- values in one packed field; what has more was not written by us
local DEDUPE_MS = 3600000
local PLACES = {n = NEW, a = AGAIN, d = PARKED, h = HISTORY, f = FAILED} -- by the first letter of a task's value
local IS_LIVE = {n = true, a = true} -- ready or in flight
local LAST = '18446744073709551615' -- the largest number in the id of an entry
local MAX_WAIT = 86400000 -- ms for which the channels of waiters are kept where no record is stored yet
local MAX_WAITING = 60000 -- bytes of channel names that are kept with one task

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Let this script write although Redis is out of memory. Redis then refuses a script whose first write needs memory;
-- this write needs none. For scripts that make room, end tasks or look; never for those that accept new work.
local function allow_writes(stream, group)
  call('XACK', stream, group, '0-0')
end

-- Lua would write a large number as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
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

-- A task as its value describes it: the place and the entry of its message; `more` if something about it stands
-- elsewhere (its notes, or the record of an ended one); of an ended one the time, the ttl and the state, as texts.
-- An empty table for what is not the value of a task.
local function parse(text)
  local place, more, entry = string.match(text, '^([nadhf])(%+?)([%d-]*)')
  if not place then return {} end
  local ended, ttl, state
  if place == 'h' or place == 'f' then
    ended, ttl, state = string.match(text, '^ (%d+) (%d+) (%d)', 1 + #place + #more + #entry)
  end
  return {text = text, place = place, more = more == '+', entry = entry, ended = ended, ttl = ttl, state = state}
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

-- Stop the script, before its first write, if a key of the group is of another type. Each is checked once a call.
local sound = {}
local function check(keys, place)
  local key = keys[place]
  if sound[key] then return end
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= (place == DELAYED and 'zset' or 'stream') then
    error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', put there by another program: rename or delete it')
  end
  sound[key] = true
end

-- Tell the supervisors if the next message to be due is this one: they may sleep until a later moment. Where an ACL
-- forbids that, they find it when they look by themselves.
local function hasten(delayed, id, delay)
  if call('ZRANK', delayed, id) == 0 then try_call('PUBLISH', delayed, int(delay)) end
end

-- Add a message that comes back. Its entry takes its id from the stream of new messages, so that fencing tokens,
-- which are made of the ids, grow from claim to claim, whichever streams the entries are in.
local function come_back(keys, fields)
  local entry = append(keys[NEW], {'', ''})
  call('XDEL', keys[NEW], entry)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local added = try_call('XADD', keys[AGAIN], entry, unpack(fields))
  return type(added) == 'string' and added or append(keys[AGAIN], fields) -- another program has added a later one
end

-- Make a message delayed, or ready if there is no delay: at `place`, 'n' or 'a'. The task key is written last: an
-- error before that must not leave an id that is known but has no message. raw: the entry is not a message, so its
-- fields stay as they are.
local function put(keys, key, id, fields, delay, now, raw, place, more)
  local entry
  if delay > 0 then
    if not raw then set_field(fields, 'due', int(now + delay)) end
    place, entry = 'd', append(keys[PARKED], fields)
    call('ZADD', keys[DELAYED], int(now + delay), id)
  elseif place == 'a' then
    if not raw then set_field(fields, '_since', int(now)) end
    entry = come_back(keys, fields)
  else
    entry = append(keys[NEW], fields)
  end
  set_place(key, place, more, entry)
  if delay > 0 then hasten(keys[DELAYED], id, delay) end
  return keys[PLACES[place]], entry
end

-- Make due messages ready: they come back.
-- KEYS the seven keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: 1, or 0 if it was not moved. Each is checked again: it may have been moved or cancelled meanwhile.
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
check(keys, PARKED)
check(keys, AGAIN)
for item = 2, #ARGV do
  local id, key = ARGV[item], KEYS[FIRST_TASK - 2 + item]
  local due, moved = call('ZSCORE', keys[DELAYED], id), 0
  if due and tonumber(due) <= now then
    local task = task_at(key)
    local fields = task.place == 'd' and read(keys[PARKED], task.entry)
    if fields then
      allow_writes(keys[NEW], ARGV[1])
      put(keys, key, id, fields, 0, now, false, 'a', task.more)
      call('XDEL', keys[PARKED], task.entry)
      moved = 1
    end
    call('ZREM', keys[DELAYED], id)
  end
  results[#results + 1] = moved
end
return results
