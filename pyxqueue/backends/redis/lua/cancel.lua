-- Cancel tasks: a waiting one ends at once; the holder of one in flight is told with its next extension.
-- KEYS the keys of the group, then the task key of each id
-- ARGV group, history limit, '1' to force it, ids
-- Returns per id: 1, or 0 if it has ended or is not known; then the tasks whose turn it is.
local keys, group, history, now = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[2]), now_ms()
local results = {}
for item = 4, #ARGV do
  local id, key = ARGV[item], KEYS[FIRST_TASK - 4 + item]
  local task, result = task_at(key), 1
  if is_elsewhere(keys, task) then return with_turns(keys, results) end
  if not task.place then task = note_foreign(keys, group, key, id) end
  local stream = keys[PLACES[task.place]]
  if task.ended or not stream or not entry_id(task.entry) then
    result = 0
  elseif COMES_BACK[task.place] and holder(stream, group, task.entry) then
    allow_writes(keys[NEW], group)
    local level = task.more and tonumber(notes_of(keys, id, 'cancel')[1] or 0) or 0
    note(keys, key, task, id, 'cancel', ARGV[3] == '1' and '3' or int(math.max(level, math.min(2, level + 1))))
  else
    allow_writes(keys[NEW], group)
    end_cancelled(keys, key, task, id, read(stream, task.entry), history, now, '')
    if task.place == 'd' then call('ZREM', keys[DELAYED], id) end
    call('XDEL', stream, task.entry)
  end
  results[#results + 1] = result
end
return with_turns(keys, results)
