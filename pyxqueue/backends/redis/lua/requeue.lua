-- Make ended tasks ready again, under their id and with their bytes.
-- KEYS the keys of the group, then the task key of each id, then the record key of each
-- ARGV group, '1' for failed tasks that are to wait for those of their flow before them which have not ended, then per
--   item: id, raw ('1' for an entry that is not a message)
-- Returns per id: 1, or 0 if it has not ended, is not known, its message is gone, another task holds its lock, or one
-- before it dooms it.
local keys, rejoins, items, now = slice(KEYS, 1, FIRST_TASK - 1), ARGV[2] == '1', (#ARGV - 2) / 2, now_ms()
local results = {}
check(keys, AGAIN)
for item = 1, items do
  local id, raw, key = ARGV[item * 2 + 1], ARGV[item * 2 + 2], KEYS[FIRST_TASK - 1 + item]
  local task = task_at(key)
  local stream = task.ended and keys[PLACES[task.place]]
  local fields = stream and read(stream, task.entry)
  local place = not fields and 'a' or place_back(keys, fields)
  if not place then return results end
  local added = fields and fields[#fields - 1] == '_ended' and 4 or 2 -- by `end_task`, which once added the time too
  local lock = fields and raw ~= '1' and field(fields, 'lock')
  local kind, name = lock_of(lock)
  local locks = kind == 'f' or kind == 's'
  local holder = locks and holder_of(keys, name, now)
  local one = rejoins and fields and dependents.at(keys, id)
  local may_run = not rejoins or task.place == 'f' and fields and dependents.may_rejoin(fields, one)
  if holder and holder ~= id or not may_run then
    results[item] = 0
  elseif fields and #fields > (fields[1] == '_id' and 2 or 0) + added then -- an id alone is not a message
    check(keys, PLACES[place])
    check_others(keys, fields)
    local has_notes = locks or notes_of(keys, id, 'steps')[1]
    local waits = one and one.has_started and one.need > 0
    if waits then check_delayed(keys) end
    for _ = 1, added do table.remove(fields) end
    if raw ~= '1' then
      local names = {'attempt', 'crashes', 'redelivered', 'deferrals', 'due', 'expires', 'doomed', 'past', '_order'}
      for _, name in ipairs(names) do remove_field(fields, name) end
    end
    allow_writes(keys[NEW], ARGV[1])
    if waits then -- if Redis refuses this, or the next, nothing has changed yet
      wait_again(keys, key, id, fields, one, has_notes)
    else
      put(keys, key, id, fields, 0, now, raw == '1', place, has_notes)
    end
    fire(keys, id, fields, task.place, nil, task.state == '5')
    if locks then take_lock(keys, id, lock) end
    call('DEL', KEYS[FIRST_TASK - 1 + items + item])
    call('XDEL', stream, task.entry)
    results[item] = 1
  else
    results[item] = 0
  end
end
return results
