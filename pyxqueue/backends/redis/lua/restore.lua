-- Make messages ready again whose holder is gone.
-- KEYS the five keys of the group, then the task key of each item
-- ARGV group, history limit, least idle time in ms, then per item: entry, id, raw, consumer, charge
--   consumer: '' for one that was handed out and has no holder
--   raw: '1' for an entry that is not a message, which is put back as it is
--   charge: 'started' (it was running when its process died), 'expired' (it may have been), 'none'
-- Returns how many are ready again. Each is checked again: its holder may have extended its lease meanwhile.
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
    if copy then -- it is removed below
    elseif fields and cancelled then
      end_cancelled(keys, task, id, fields, history, now, consumer)
    elseif fields then
      put_again(keys, task, id, fields, 0, now, raw == '1')
      restored = restored + 1
    end
    call('XACK', keys[STREAM], group, entry) -- last: nothing is lost if Redis refuses a write before
    call('XDEL', keys[STREAM], entry)
  end
end
return restored
