-- Make due messages ready.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: 1, or 0 if it was not moved. Each is checked again: it may have been moved or cancelled meanwhile.
local keys, now, results = slice(KEYS, 1, 5), now_ms(), {}
check(keys, PARKED)
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[4 + item]
  local due, moved = call('ZSCORE', keys[DELAYED], id), 0
  if due and tonumber(due) <= now then
    local entry = fields_of(task, 'e')[1]
    local fields = entry and read(keys[PARKED], entry)
    if fields then
      allow_writes(keys[STREAM], ARGV[1])
      put(keys, task, id, fields, 0, now)
      call('XDEL', keys[PARKED], entry)
      moved = 1
    end
    call('ZREM', keys[DELAYED], id)
  end
  results[#results + 1] = moved
end
return results
