-- Make ended tasks ready again, under their id and with their bytes.
-- KEYS the five keys of the group, then the task key of each id, then the record key of each
-- ARGV group, then per item: id, raw ('1' for an entry that is not a message)
-- Returns per id: 1, or 0 if it has not ended, is not known, or its message is gone.
local keys, results = slice(KEYS, 1, 5), {}
for item = 1, (#ARGV - 1) / 2 do
  local id, raw, task = ARGV[item * 2], ARGV[item * 2 + 1], KEYS[5 + item]
  local at, entry, channels = unpack(fields_of(task, 'at', 'e', 'w'))
  local stream = (at == 'history' or at == 'failed') and stream_of(keys, at)
  local fields = stream and read(stream, entry or '')
  if fields and #fields > (fields[1] == '_id' and 6 or 4) then -- an id alone is not a message
    for _ = 1, 4 do table.remove(fields) end -- what `end_task` has added
    if raw ~= '1' then
      for _, name in ipairs({'attempt', 'crashes', 'redelivered', 'deferrals', 'due'}) do remove_field(fields, name) end
    end
    allow_writes(keys[STREAM], ARGV[1])
    local live = append(keys[STREAM], fields) -- if Redis refuses this, nothing has changed yet
    call('DEL', task, KEYS[5 + (#ARGV - 1) / 2 + item])
    call('HSET', task, 'at', 'live', 'e', live)
    call('XDEL', stream, entry)
    announce(keys[DELAYED], channels, id)
    results[#results + 1] = 1
  else
    results[#results + 1] = 0
  end
end
return results
