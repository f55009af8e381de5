-- Store records that did not come with a settlement (the broker is another store).
-- KEYS the five keys of the group, then the task key of each record
-- ARGV group, then per record: id, ttl in ms, fence, number of values, values
-- Returns 1 or 0 per record: 0 where a record of a later holder can still be read.
local now, answers, item, arg = now_ms(), {}, 6, 2

while arg <= #ARGV do
  local id, ttl, fence, count = unpack(ARGV, arg, arg + 3)
  local task = KEYS[item]
  local stored = readable_fence(task, now)
  local accepted = not (stored and below(fence, stored))
  if accepted then
    local channels, known = unpack(fields_of(task, 'w', 'at'))
    local kept = known and redis.call('PTTL', task) or 0 -- nothing but a record is known of most tasks: then no id is
    if kept < 0 then kept = DEDUPE_MS end
    redis.call('DEL', task)
    redis.call('HSET', task, 'at', 'history', 'ended', int(now), 'ttl', ttl, 'fence', fence,
      unpack(slice(ARGV, arg + 4, tonumber(count))))
    redis.call('PEXPIRE', task, int(math.max(tonumber(ttl), kept)))
    announce(slice(KEYS, 1, 5), channels, id)
  end
  answers[#answers + 1] = accepted and 1 or 0
  item, arg = item + 1, arg + 4 + count
end
return answers
