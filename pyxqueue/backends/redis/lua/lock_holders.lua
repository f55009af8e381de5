-- Which tasks hold locks.
-- KEYS the keys of the group, then the key of each lock, if that is one of a window
-- ARGV the names of the locks
-- Returns per name the id of a task, or '' for a lock that is free.
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
for i, name in ipairs(ARGV) do
  local window = try_call('GET', KEYS[FIRST_TASK - 1 + i])
  results[i] = holder_of(keys, name, now) or type(window) == 'string' and window or ''
end
return results
