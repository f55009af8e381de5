-- Take in tasks as another store showed them, each once by its id.
-- KEYS the five keys of the group, then the task key and the record key of each item
-- ARGV per item: id, raw ('1' for an entry that is not a message), place ('failed', or '' for one that waits), reason,
--   due, record ttl in ms, number of record values, record values, number of values, values
-- Returns 1 or 0 per item (taken in, or known already).
local keys, now, results = slice(KEYS, 1, 5), now_ms(), {}
local key, arg = 6, 1
while arg <= #ARGV do
  local id, raw, place, reason, due, ttl = unpack(ARGV, arg, arg + 5)
  local size = tonumber(ARGV[arg + 6])
  local record = slice(ARGV, arg + 7, size)
  arg = arg + 7 + size
  local count, task = tonumber(ARGV[arg]), KEYS[key]
  local known = call('EXISTS', task) == 1
  if not known then
    local fields = slice(ARGV, arg + 1, count)
    if place == 'failed' then
      end_task(keys, task, id, fields, 'failed', {'_reason', reason}, record, ttl, 0, now, KEYS[key + 1])
    else
      if raw ~= '1' then set_field(fields, 'enqueued', int(now)) end
      keep_id(fields, id)
      if tonumber(due) > now then check_delayed(keys) end
      put(keys, task, id, fields, tonumber(due) - now, now, raw == '1')
    end
  end
  results[#results + 1] = known and 0 or 1
  key, arg = key + 2, arg + 1 + count
end
return results
