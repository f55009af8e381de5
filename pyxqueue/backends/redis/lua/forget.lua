-- Remove records; the ids stay known, so that a late repeat of `enqueue` still changes nothing.
-- KEYS the five keys of the group, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: 1, or 0 if there was no record.
local results = {}
for item = 2, #ARGV do
  local task = KEYS[4 + item]
  if fields_of(task, 'state')[1] then
    call('DEL', KEYS[4 + #ARGV - 1 + item])
    call('HDEL', task, 'value', 'error', 'progress', 'seal')
    call('HSET', task, 'ttl', '0')
    results[#results + 1] = 1
  else
    results[#results + 1] = 0
  end
end
return results
