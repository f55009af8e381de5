-- Put messages back in line whose holder is gone.
-- KEYS the five keys of the group, then the task key of each item
-- ARGV group, history limit, least silence in ms, then per item: entry, id, raw, consumer, charge
--   consumer: '' for one that was handed out and has no holder at all
--   raw: '1' for an entry that is no message, which is put back as it is
--   charge: 'started' (it was running when its process died), 'expired' (nobody knows), 'none'
-- Returns how many were put back. Every item is checked again: its holder may have come back since the caller looked.
local keys, group, history, min_idle, now = slice(KEYS, 1, 5), ARGV[1], tonumber(ARGV[2]), ARGV[3], now_ms()
local restored = 0
for item = 0, (#ARGV - 3) / 5 - 1 do
  local entry, id, raw, consumer, charge = unpack(ARGV, 4 + item * 5, 8 + item * 5)
  local task = KEYS[6 + item]
  local found = holder(keys, group, entry, consumer ~= '' and min_idle or nil)
  if (found or '') == consumer then
    local fields, cancelled, at, own = read(keys[STREAM], entry), unpack(fields_of(task, 'cancel', 'at', 'e'))
    allow_writes(keys[STREAM], group)
    local copy = is_copy(keys, group, at, own, entry)
    if fields and charge ~= 'none' and raw ~= '1' then
      if charge == 'started' or field(fields, 'redelivered') == '1' then count_up(fields, 'crashes', 0) end
      set_field(fields, 'redelivered', '1')
    end
    if copy then -- nothing: it goes below
    elseif fields and cancelled then
      finish_cancelled(keys, task, id, fields, history, now)
    elseif fields then
      put_again(keys, task, id, fields, 0, now, raw == '1')
      restored = restored + 1
    end
    redis.call('XACK', keys[STREAM], group, entry) -- last: it is lost nowhere if Redis refuses to write it again
    redis.call('XDEL', keys[STREAM], entry)
  end
end
return restored
