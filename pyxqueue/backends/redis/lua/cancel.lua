-- Cancel tasks: a waiting one ends at once; the holder of one in flight is told with its next extension.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, history limit, '1' to force it, ids
-- Returns per id: 1, or 0 if it has ended or is not known.
local keys, group, history, now, results = slice(KEYS, 1, 5), ARGV[1], tonumber(ARGV[2]), now_ms(), {}
for item = 4, #ARGV do
  local id, task = ARGV[item], KEYS[2 + item]
  if call('EXISTS', task) == 0 then note_foreign(keys, group, task, id) end
  local at, entry, asked = unpack(fields_of(task, 'at', 'e', 'cancel'))
  local result = 1
  if not entry_id(entry or '') then at = nil end
  if at == 'live' and holder(keys, group, entry) then
    allow_writes(keys[STREAM], group)
    local level = tonumber(asked) or 0
    call('HSET', task, 'cancel', ARGV[3] == '1' and '3' or int(math.max(level, math.min(2, level + 1))))
  elseif at == 'live' or at == 'parked' then
    allow_writes(keys[STREAM], group)
    end_cancelled(keys, task, id, read(stream_of(keys, at), entry), history, now, '')
    if at == 'parked' then call('ZREM', keys[DELAYED], id) end
    call('XDEL', stream_of(keys, at), entry)
  else
    result = 0
  end
  results[#results + 1] = result
end
return results
