-- Delete tasks that are not in flight, with their records.
-- KEYS the keys of the group, then the task key of each id, then the record key of each
-- ARGV group, ids, then nothing, or the entry of each: it is deleted only if it is with the failed tasks in this entry
-- Returns per id: 1, or 0 if it is in flight, not known, or not in its entry; then the tasks whose turn it is.
local keys, group, results, count = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], {}, (#KEYS - FIRST_TASK + 1) / 2
local has_limits = call('EXISTS', keys[GATES], keys[LINES]) > 0
local has_dependents = call('EXISTS', keys[DEPENDENTS]) > 0
local has_expiries = call('EXISTS', keys[EXPIRIES]) > 0
for item = 1, count do
  local id, key, entry = ARGV[1 + item], KEYS[FIRST_TASK - 1 + item], ARGV[1 + count + item]
  local task = task_at(key)
  local is_meant = not entry or task.place == 'f' and task.entry == entry
  if is_meant and is_elsewhere(keys, task) then return with_turns(keys, results) end
  if is_meant and not task.place then task = note_foreign(keys, group, key, id) end
  local stream = is_meant and keys[PLACES[task.place]]
  local free = stream and not (COMES_BACK[task.place] and holder(stream, group, task.entry))
  if free then
    allow_writes(keys[NEW], group)
    local noted = task.place == 'f' or task.more and not task.ended
    local channels, lock, index = unpack(noted and notes_of(keys, id, 'waiters', 'lock', 'steps') or {})
    local fields = (has_limits and not task.ended or has_dependents) and read(stream, task.entry)
    check_others(keys, fields or {})
    give_back(keys, id, lock)
    if fields and not task.ended then leave_gates(keys, id, fields) end
    if has_dependents and (not fields or flow_of(fields)) then -- its message may have been removed by hand
      dependents.drop(keys, id)
      fire(keys, id, fields or {}, task.ended and task.place, 'h', false)
    end
    if has_dependents then parents.drop(keys, id) end
    drop_steps(keys, id, index)
    call('ZREM', keys[DELAYED], id)
    if has_expiries then try_call('ZREM', keys[EXPIRIES], id) end
    if entry_id(task.entry) then call('XDEL', stream, task.entry) end
    call('DEL', key, KEYS[FIRST_TASK - 1 + count + item])
    if task.more and not task.ended then drop_notes(keys, id) end
    announce(keys[DELAYED], channels, id)
  end
  if is_meant then
    results[#results + 1] = free and 1 or 0
  else -- an entry that another program has written there belongs to no failed task
    results[#results + 1] = call('XDEL', keys[FAILED], entry)
  end
end
return with_turns(keys, results)
