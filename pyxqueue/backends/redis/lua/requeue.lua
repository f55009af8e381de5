-- Make failed or finished tasks ready again, under their id and with their bytes.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, then per item: id, raw ('1' for an entry that is no message)
-- Returns per id: 1, or 0 if it is under way, not known, or no longer in the history.
local keys, now, answers = slice(KEYS, 1, 5), now_ms(), {}
local places = {history = keys[HISTORY], failed = keys[FAILED]}
for item = 1, (#ARGV - 1) / 2 do
  local id, raw, task = ARGV[item * 2], ARGV[item * 2 + 1], KEYS[5 + item]
  local at, entry, channels = unpack(redis.call('HMGET', task, 'at', 'e', 'w'))
  local fields = places[at] and entry ~= '' and read(places[at], entry)
  if fields then
    for _ = 1, 4 do table.remove(fields) end -- what `finish` wrote behind the message's own
    if raw ~= '1' then
      for _, name in ipairs({'attempt', 'crashes', 'suspect', 'returns', 'due'}) do set_field(fields, name, nil) end
    end
    redis.call('DEL', task)
    put(keys, task, id, fields, 0, now)
    redis.call('XDEL', places[at], entry)
    announce(channels, id)
  end
  answers[#answers + 1] = fields and 1 or 0
end
return answers
