-- Store an event of a task; if the task waits for it, make it ready.
-- KEYS the keys of the group, then the task key
-- ARGV group, id, name, value, the most events that are kept
-- Returns 'refused', 'earlier', 'full', or 'stored', or 'GROUPS' if the caller's classes are out of date.
local keys, key = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK]
local group, id, name, value, most = unpack(ARGV, 1, 5)
local task = task_at(key)
if is_elsewhere(keys, task) then return 'GROUPS' end
if not task.place then task = note_foreign(keys, group, key, id) end
if not task.place or task.ended then return 'refused' end
local names, events = kept_names(keys, id), 0
for i = 1, #names, 2 do
  if names[i] == 'e' .. name then return 'earlier' end
  if string.sub(names[i], 1, 1) == 'e' then events = events + 1 end
end
if events >= tonumber(most) then return 'full' end

local waits = task.place == 'd' or task.place == 'w'
local fields = waits and read(keys[PARKED], task.entry)
local wakes = fields and field(fields, '_event') == name
local place = wakes and place_back(keys, fields)
if wakes then
  if not place then return 'GROUPS' end
  check(keys, PLACES[place])
  check(keys, PARKED)
end
keep_step(keys, key, task, id, 'e' .. name, value)
if wakes then
  parents.end_wait(keys, id, fields)
  remove_field(fields, 'due')
  put(keys, key, id, fields, 0, now_ms(), false, place, task.more)
  call('XDEL', keys[PARKED], task.entry)
end
return 'stored'
