-- Read records. With a channel: have it told of the progress and the end of tasks that have not ended.
-- KEYS the keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, channel ('' for none), ids
-- Returns per id: the value of the task and, if it has one, of its record, if it has ended; the time in ms if it has
-- not; 0 if it is not known or its record is gone.
local keys, meta, group, channel, now = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK], ARGV[1], ARGV[2], now_ms()
local results, ids = {}, #ARGV - 2

for item = 1, ids do
  local key, id = KEYS[FIRST_TASK + item], ARGV[2 + item]
  local task = task_at(key)
  if is_elsewhere(keys, task) then return results end
  if not task.place then task = note_foreign(keys, group, key, id) end
  if channel ~= '' and not task.ended and is_gone(keys, group, task) then
    end_gone(keys, meta, group, key, task, id, now)
    task = task_at(key)
  end
  if not task.place then
    results[item] = 0
  elseif task.ended then
    results[item] = with_record(task, KEYS[FIRST_TASK + ids + item], now) or 0
  else
    if channel ~= '' then
      local waiting = with_channel(task.more and notes_of(keys, id, 'waiters')[1], channel)
      if waiting then
        allow_writes(keys[NEW], group)
        note(keys, key, task, id, 'waiters', waiting)
      end
    end
    results[item] = now
  end
end
return results
