-- Make failed or finished tasks ready again, under their id and with their bytes.
-- KEYS the five keys of the group, then the task key of each id, then the record key of each
-- ARGV group, then per item: id, raw ('1' for an entry that is no message)
-- Returns per id: 1, or 0 if it is under way, not known, or no longer in the history.
local keys, answers = slice(KEYS, 1, 5), {}
local places = {history = keys[HISTORY], failed = keys[FAILED]}
for item = 1, (#ARGV - 1) / 2 do
  local id, raw, task = ARGV[item * 2], ARGV[item * 2 + 1], KEYS[5 + item]
  local at, entry, channels = unpack(fields_of(task, 'at', 'e', 'w'))
  local fields = places[at] and read(places[at], entry or '')
  if fields and #fields > (fields[1] == '_id' and 6 or 4) then -- behind an id alone there was no message
    for _ = 1, 4 do table.remove(fields) end -- what `finish` wrote behind the message's own
    if raw ~= '1' then
      for _, name in ipairs({'attempt', 'crashes', 'redelivered', 'deferrals', 'due'}) do remove_field(fields, name) end
    end
    allow_writes(keys[STREAM], ARGV[1])
    local live = append(keys[STREAM], fields) -- what can go wrong with the stream does so before the task is touched
    redis.call('DEL', task, KEYS[5 + (#ARGV - 1) / 2 + item])
    redis.call('HSET', task, 'at', 'live', 'e', live)
    redis.call('XDEL', places[at], entry)
    announce(keys, channels, id)
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
