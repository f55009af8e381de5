-- Delete tasks that are not in flight, with their records.
-- KEYS the keys of the group, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: 1, or 0 if it is in flight or not known; then the tasks whose turn it is.
local keys, group, results = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], {}
local has_limits = call('EXISTS', keys[GATES], keys[LINES]) > 0
local has_dependents = call('EXISTS', keys[DEPENDENTS]) > 0
local has_expiries = call('EXISTS', keys[EXPIRIES]) > 0
for item = 2, #ARGV do
  local id, key = ARGV[item], KEYS[FIRST_TASK - 2 + item]
  local task = task_at(key)
  if is_elsewhere(keys, task) then return with_turns(keys, results) end
  if not task.place then task = note_foreign(keys, group, key, id) end
  local stream = keys[PLACES[task.place]]
  local free = stream and not (COMES_BACK[task.place] and holder(stream, group, task.entry))
  if free then
    local noted = task.place == 'f' or task.more and not task.ended
    local channels, lock, index = unpack(noted and notes_of(keys, id, 'waiters', 'lock', 'steps') or {})
    local fields = (has_limits and not task.ended or has_dependents) and read(stream, task.entry)
    give_back(keys, id, lock)
    if fields and not task.ended then leave_gates(keys, id, fields) end
    if has_dependents and (not fields or flow_of(fields)) then -- its message may have been removed by hand
      drop_dependent(keys, id)
      fire(keys, id, fields or {}, task.ended and task.place, 'h', false)
    end
    if has_dependents then drop_suspension(keys, id) end
    drop_steps(keys, id, index)
    call('ZREM', keys[DELAYED], id)
    if has_expiries then try_call('ZREM', keys[EXPIRIES], id) end
    if entry_id(task.entry) then call('XDEL', stream, task.entry) end
    call('DEL', key, KEYS[FIRST_TASK - 2 + #ARGV - 1 + item])
    if task.more and not task.ended then drop_notes(keys, id) end
    announce(keys[DELAYED], channels, id)
  end
  results[#results + 1] = free and 1 or 0
end
return with_turns(keys, results)
