-- Cancel tasks: a waiting one ends at once, the holder of a held one is told with its next extension.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, history limit, ids
-- Returns per id: 1, or 0 if it has ended or is not known.
local keys, group, history, now, answers = slice(KEYS, 1, 5), ARGV[1], tonumber(ARGV[2]), now_ms(), {}
for item = 3, #ARGV do
  local id, task = ARGV[item], KEYS[3 + item]
  if redis.call('EXISTS', task) == 0 then note_foreign(keys, group, task, id) end
  local at, entry = unpack(fields_of(task, 'at', 'e'))
  local answer = 1
  check(keys, HISTORY)
  if not entry_id(entry or '') then at = nil end
  if at == 'live' and holder(keys, group, entry) then
    allow_writes(keys[STREAM], group)
    redis.call('HSET', task, 'cancel', '1')
  elseif at == 'live' then
    local fields = read(keys[STREAM], entry)
    redis.call('XDEL', keys[STREAM], entry)
    finish_cancelled(keys, task, id, fields, history, now)
  elseif at == 'parked' then
    local fields = read(keys[PARKED], entry)
    redis.call('ZREM', keys[DELAYED], id)
    redis.call('XDEL', keys[PARKED], entry)
    finish_cancelled(keys, task, id, fields, history, now)
  else
    answer = 0
  end
  answers[#answers + 1] = answer
end
return answers
