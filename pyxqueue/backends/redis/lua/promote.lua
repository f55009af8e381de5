-- Make due messages ready: they come back. And those that waited for others of their flow.
-- KEYS the keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: 1, or 0 if it was not moved. Each is checked again: it may have been moved or cancelled meanwhile.
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
check(keys, PARKED)
check(keys, AGAIN)
-- A task that waits for others has its turn: all have ended, one dooms it, or not all of them were stored in time.
local function start(key, id, task, fields, place)
  local parent = field(fields, '_event') and parents.at(keys, id)
  if parent and parent.need > 0 then
    call('ZREM', keys[DELAYED], id)
    return 0
  end
  if parents.end_wait(keys, id, fields) then
    put(keys, key, id, fields, 0, now, false, place, task.more)
    call('XDEL', keys[PARKED], task.entry)
    return 1
  end
  local known = dependents.at(keys, id)
  local one = known or {need = 0, absent = 0, due = 0, cause = ''}
  if not dependents.may_start(one) and one.absent <= 0 then
    call('ZREM', keys[DELAYED], id)
    return 0
  end
  if not dependents.may_start(one) then
    local number = number_after(fields)
    one.cause = int(number - one.absent) .. ' of ' .. int(number) .. ' predecessors'
  end
  local delay = one.cause == '' and one.due - now or 0
  remove_field(fields, 'due')
  if one.cause ~= '' then set_field(fields, 'doomed', one.cause) end
  put(keys, key, id, fields, delay, now, false, place, task.more)
  if delay <= 0 then call('ZREM', keys[DELAYED], id) end
  if known then dependents.note_start(keys, id, one) end
  call('XDEL', keys[PARKED], task.entry)
  return 1
end

for item = 2, #ARGV do
  local id, key = ARGV[item], KEYS[FIRST_TASK - 2 + item]
  local due, moved = call('ZSCORE', keys[DELAYED], id), 0
  if due and tonumber(due) <= now then
    local task = task_at(key)
    local waited = task.place == 'w'
    local fields = (waited or task.place == 'd') and read(keys[PARKED], task.entry)
    local place = not fields and 'a' or place_back(keys, fields)
    if not place then return results end
    if fields and waited then
      check(keys, PLACES[place])
      allow_writes(keys[NEW], ARGV[1])
      moved = start(key, id, task, fields, place)
    elseif fields then
      check(keys, PLACES[place])
      allow_writes(keys[NEW], ARGV[1])
      remove_field(fields, '_event')
      put(keys, key, id, fields, 0, now, false, place, task.more)
      call('XDEL', keys[PARKED], task.entry)
      local lock = task.more and notes_of(keys, id, 'lock')[1]
      if lock and lock_of(lock) == 'd' then -- it has ended by time
        give_back(keys, id, lock)
        call('HDEL', keys[NOTES], 'lock:' .. id)
      end
      moved = 1
    end
    if not waited or not fields then call('ZREM', keys[DELAYED], id) end
  end
  results[#results + 1] = moved
end
return results
