-- Store the records of tasks of another broker.
-- KEYS the keys of the group, then the key of each record
-- ARGV per record: id, ttl in ms, fence, number of values, values
-- Returns 1 or 0 per record: 0 where a record of a later holder can still be read.
local keys, now, results, item, arg = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}, FIRST_TASK, 1

while arg <= #ARGV do
  local id, ttl, fence, count = unpack(ARGV, arg, arg + 3)
  local stored, ended, lives, channels = unpack(fields_of(KEYS[item], 'fence', 'ended', 'ttl', 'waiters'))
  local accepted = not (stored and is_readable(ended, lives, now) and below(fence, stored))
  if accepted then
    call('DEL', KEYS[item])
    local values = slice(ARGV, arg + 4, tonumber(count))
    call('HSET', KEYS[item], 'ended', int(now), 'ttl', ttl, 'fence', fence, unpack(values))
    call('PEXPIRE', KEYS[item], ttl)
    announce(keys[DELAYED], channels, id)
  end
  results[#results + 1] = accepted and 1 or 0
  item, arg = item + 1, arg + 4 + count
end
return results
