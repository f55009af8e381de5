-- Make due messages ready: they come back.
-- KEYS the keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: 1, or 0 if it was not moved. Each is checked again: it may have been moved or cancelled meanwhile.
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
check(keys, PARKED)
check(keys, AGAIN)
for item = 2, #ARGV do
  local id, key = ARGV[item], KEYS[FIRST_TASK - 2 + item]
  local due, moved = call('ZSCORE', keys[DELAYED], id), 0
  if due and tonumber(due) <= now then
    local task = task_at(key)
    local fields = task.place == 'd' and read(keys[PARKED], task.entry)
    local place = not fields and 'a' or place_back(keys, fields)
    if not place then return results end
    if fields then
      check(keys, PLACES[place])
      allow_writes(keys[NEW], ARGV[1])
      put(keys, key, id, fields, 0, now, false, place, task.more)
      call('XDEL', keys[PARKED], task.entry)
      local lock = task.more and notes_of(keys, id, 'lock')[1]
      if lock and lock_of(lock) == 'd' then -- it has ended by time
        give_back(keys, id, lock)
        call('HDEL', keys[NOTES], 'lock:' .. id)
      end
      moved = 1
    end
    call('ZREM', keys[DELAYED], id)
  end
  results[#results + 1] = moved
end
return results
