-- Accept messages that have a lock into every registered group, each once by its id, and if its lock is free.
-- KEYS meta, the keys of each group, then per message and group: its task key, the task key of the holder that
--   the caller knows of (or its own again), and the key of its lock, if that is one of a window
-- ARGV version of the list of groups, number of groups, ms of a window, longest wait of a debounced task in ms (0 for
--   none), '1' if that keeps its first message, how long a group may become ('' for any length) and the priority
--   classes in use as the caller knows them, the groups, then per message: id, delay in ms, lock, the holder that the
--   caller knows of ('' for none), number of values, values
-- Returns per message what was done, as `Placement` has it, and the id of the task that stands for the message; if one
-- had no room, it stops there, and the length of the longest group comes last. Or 'GROUPS' if the caller's list of
-- groups is out of date, or its list of classes and these are counted. A holder that the caller knows of is looked at:
-- it may have been removed by hand, so that its lock was not given back.
if call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'GROUPS' end
local KNOWN, NEW_ONE, HELD, REPLACED = 0, 1, 2, 3
local count, window, longest, keeps_first = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local now, soon, results, size = now_ms(), next_ms(), {}, own_size(2)
local groups, next_key, arg = {}, 2 + size * count, 8 + count
for i = 1, count do groups[i] = {name = ARGV[7 + i], keys = slice(KEYS, 2 + size * (i - 1), size)} end

-- How many tasks of a group have not ended.
local function length_of(group)
  local found = call('XLEN', group.keys[PARKED])
  for _, live in ipairs(live_streams(group.keys)) do found = found + call('XLEN', live[2]) end
  return found
end

local max_length, room = tonumber(ARGV[6]), math.huge
if max_length then
  if (call('HGET', KEYS[1], 'classes') or '') ~= ARGV[7] then return 'GROUPS' end
  for _, group in ipairs(groups) do room = math.min(room, max_length - length_of(group)) end
end

-- one: the message, in a group, with its keys there
local function is_alive(group, one, id)
  local task = task_at(one.holder_key)
  if not task.place or task.ended then return false end
  if not is_gone(group.keys, group.name, task) then return true end
  end_gone(group.keys, KEYS[1], group.name, one.holder_key, task, id, now)
  return false
end

-- The task that holds the lock of a message in a group, and the time of its first call, if it is a debounced one.
local function find_holder(group, one)
  if one.kind == 'w' then return call('GET', one.window_key) or nil end
  local id, first = holder_of(group.keys, one.lock_name, now)
  if id and id ~= one.id and id == one.seen and not is_alive(group, one, id) then return nil end
  return id, first
end

-- Let a debounced task be due later, and give it the message. Returns whether it was not due yet.
local function replace(group, key, id, first, one)
  local keys, task = group.keys, task_at(key)
  local old = task.place == 'd' and read(keys[PARKED], task.entry)
  if not old or not first then return false end
  check_delayed(keys)
  local fields = old
  if not keeps_first then
    fields = slice(ARGV, one.first_value, one.values)
    table.insert(fields, 1, field(old, 'enqueued') or int(soon))
    table.insert(fields, 1, 'enqueued')
    stamp_expiry(fields)
    drop_expiry(keys, id, old)
  end
  local due = soon + one.delay
  if longest > 0 then due = math.min(due, first + longest) end
  put(keys, key, id, fields, math.max(1, due - soon), soon, false, 'n', true)
  call('XDEL', keys[PARKED], task.entry)
  take_lock(keys, id, one.lock, math.max(soon + 1, due), first, true)
  return true
end

local function in_group(message, i)
  local at = next_key + 3 * (i - 1)
  return setmetatable({key = KEYS[at], holder_key = KEYS[at + 1], window_key = KEYS[at + 2]}, {__index = message})
end

local function accept(message)
  all_or_nothing(function()
    for i, group in ipairs(groups) do
      local fields = slice(ARGV, message.first_value, message.values)
      put_new(group.keys, in_group(message, i).key, message.id, fields, message.delay, soon, message.notes)
    end
  end)
  for i, group in ipairs(groups) do
    local due = message.kind == 'd' and soon + message.delay or nil
    if message.notes then take_lock(group.keys, message.id, message.lock, due, soon) end
    if message.kind == 'w' then call('SET', in_group(message, i).window_key, message.id, 'PX', window) end
  end
end

local function place(message)
  local known, holder, replaced = false, nil, false
  for i in ipairs(groups) do known = known or call('EXISTS', in_group(message, i).key) == 1 end
  for i, group in ipairs(groups) do
    local one, found = in_group(message, i), nil
    if message.kind then
      local first
      found, first = find_holder(group, one)
      if found and message.kind == 'd' and (found == message.id and known) then
        replaced = replace(group, one.key, message.id, first, one) or replaced
      elseif found and message.kind == 'd' and keeps_first and found == message.seen then
        replace(group, one.holder_key, found, first, one)
      end
    end
    if found ~= message.id then holder = holder or found end
  end
  if known then return replaced and REPLACED or KNOWN, message.id end
  if holder then return HELD, holder end
  if room <= 0 then return nil end
  room = room - 1
  accept(message)
  return NEW_ONE, message.id
end

while arg <= #ARGV do
  local message = {id = ARGV[arg], delay = tonumber(ARGV[arg + 1]), lock = ARGV[arg + 2], seen = ARGV[arg + 3]}
  message.values, message.first_value = tonumber(ARGV[arg + 4]), arg + 5
  message.kind, message.lock_name = lock_of(message.lock)
  message.notes = message.kind == 'f' or message.kind == 's' or message.kind == 'd' and message.delay > 0
  local placement, id = place(message)
  if not placement then
    results[#results + 1] = max_length - room
    break
  end
  results[#results + 1], results[#results + 2] = placement, id
  next_key, arg = next_key + 3 * count, arg + 5 + message.values
end
return results
