-- Save steps of tasks in flight; only for their holder.
-- KEYS the keys of the group, then the task key
-- ARGV group, place, entry, consumer, id, then names and values
-- Returns as `extend`: 0 lost, 1 held, 2 to be cancelled, 3 cancelled again, 4 to be killed.
local keys, key = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK]
local group, place, entry, consumer, id = unpack(ARGV, 1, 5)
local stream = keys[PLACES[place]]
if holder(stream, group, entry) ~= consumer then return {0} end
local task = task_at(key)
if not task.place and is_of_other(read(stream, entry), id, entry) then return {0} end
if is_copy(keys, group, task, place, entry) then return {0} end
allow_writes(keys[NEW], group) -- a running task goes on
if not task.place then -- written by hand: the task key made here must name its entry
  task = {place = place, entry = entry}
  set_place(key, place, false, entry)
end
for i = 6, #ARGV, 2 do keep_step(keys, key, task, id, 's' .. ARGV[i], ARGV[i + 1]) end
local cancelled = notes_of(keys, id, 'cancel')[1]
return {cancelled and 1 + math.min(3, math.max(1, tonumber(cancelled) or 1)) or 1}
