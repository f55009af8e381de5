-- Remove records; the ids stay known, so that a late repeat of `enqueue` still changes nothing.
-- KEYS the keys of the group, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: 1, or 0 if there was no record.
local results = {}
for item = 2, #ARGV do
  local key = KEYS[FIRST_TASK - 2 + item]
  local task = task_at(key)
  if task.ended then
    call('DEL', KEYS[FIRST_TASK - 2 + #ARGV - 1 + item])
    call('SET', key, task.place .. task.entry .. ' ' .. task.ended .. ' 0 ' .. task.state .. ' ', 'KEEPTTL')
  end
  results[#results + 1] = task.ended and 1 or 0
end
return results
