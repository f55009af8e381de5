-- Delete tasks that are not in flight, with their records.
-- KEYS the five keys of the group, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: 1, or 0 if it is in flight or not known.
local keys, group, results = slice(KEYS, 1, 5), ARGV[1], {}
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[4 + item]
  if call('EXISTS', task) == 0 then note_foreign(keys, group, task, id) end
  local at, entry, channels = unpack(fields_of(task, 'at', 'e', 'w'))
  local free = at and not (at == 'live' and holder(keys, group, entry))
  if free then
    call('ZREM', keys[DELAYED], id)
    local stream = stream_of(keys, at)
    if stream and entry_id(entry or '') then call('XDEL', stream, entry) end
    call('DEL', task, KEYS[4 + #ARGV - 1 + item])
    announce(keys[DELAYED], channels, id)
  end
  results[#results + 1] = free and 1 or 0
end
return results
