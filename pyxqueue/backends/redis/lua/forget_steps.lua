-- Delete the steps and events of failed tasks.
-- KEYS the keys of the group, then the task key of each id
-- ARGV ids
-- Returns 1.
local keys = slice(KEYS, 1, FIRST_TASK - 1)
for item, id in ipairs(ARGV) do
  if task_at(KEYS[FIRST_TASK - 1 + item]).place == 'f' then drop_steps(keys, id, notes_of(keys, id, 'steps')[1]) end
end
return 1
