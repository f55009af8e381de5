-- Take in tasks as another store showed them, each once by its id.
-- KEYS the keys of the group, then the task key and the record key of each item
-- ARGV per item: id, raw ('1' for an entry that is not a message), place ('f' for a failed one, 'n' for one that
--   waits, or that of the new ones in its class), reason, due, record, its ttl in ms, number of values, values
-- Returns 1 or 0 per item (taken in, or known already).
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
local key, arg = FIRST_TASK, 1
while arg <= #ARGV do
  local id, raw, place, reason, due, record, ttl, count = unpack(ARGV, arg, arg + 7)
  local known = call('EXISTS', KEYS[key]) == 1
  if not known then
    local fields = slice(ARGV, arg + 8, tonumber(count))
    if place == 'f' then
      end_task(keys, KEYS[key], {}, id, fields, 'f', {'_reason', reason}, record, ttl, 0, now, KEYS[key + 1])
    else
      if raw ~= '1' then set_field(fields, 'enqueued', int(now)) end
      keep_id(fields, id)
      if tonumber(due) > now then check_delayed(keys) end
      local lock = raw ~= '1' and field(fields, 'lock')
      local kind, name = lock_of(lock)
      local until_due = kind == 'd' and tonumber(due) or nil
      local locks = (kind == 'f' or kind == 's' or (until_due or 0) > now) and not holder_of(keys, name, now)
      put(keys, KEYS[key], id, fields, tonumber(due) - now, now, raw == '1', place, locks)
      if locks then take_lock(keys, id, lock, until_due, now) end
    end
  end
  results[#results + 1] = known and 0 or 1
  key, arg = key + 2, arg + 8 + count
end
return results
