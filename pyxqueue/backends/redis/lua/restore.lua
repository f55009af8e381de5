-- Make messages ready again whose holder is gone: they come back.
-- KEYS the keys of the group, meta, then the task key of each item
-- ARGV group, history limit, least idle time in ms, then per item: place, entry, id, raw, consumer, charge,
--   the line to keep of its run
--   consumer: '' for one that was handed out and has no holder; it may have been given back (`unread`) meanwhile
--   raw: '1' for an entry that is not a message, which is put back as it is
--   charge: 'started' (it was running when its process died), 'expired' (it may have been), 'none'
-- Returns how many are ready again, then the tasks whose turn it is. Each is checked again: its holder may have
-- extended its lease meanwhile.
local keys, group, history, min_idle = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now, restored, paused = now_ms(), 0, paused_at(KEYS[FIRST_TASK], group)
for item = 0, (#ARGV - 3) / 7 - 1 do
  local place, entry, id, raw, consumer, charge, past = unpack(ARGV, 4 + item * 7, 10 + item * 7)
  local key, stream = KEYS[FIRST_TASK + 1 + item], keys[PLACES[place]]
  check(keys, PLACES[COMES_BACK[place]])
  local found = holder(stream, group, entry, consumer ~= '' and min_idle or nil)
  local handed_out = found or not is_later(entry, last_handed_out(stream, group, paused, place))
  if (found or '') == consumer and handed_out then
    local fields, task = read(stream, entry), task_at(key)
    allow_writes(keys[NEW], group)
    local copy = is_copy(keys, group, task, place, entry)
    if fields and charge ~= 'none' and raw ~= '1' then
      if charge == 'started' or field(fields, 'redelivered') == '1' then count_up(fields, 'crashes', 0) end
      set_field(fields, 'redelivered', '1')
    end
    if fields and raw ~= '1' then remember_run(fields, past) end
    if copy then -- it is removed below
    elseif fields and task.more and notes_of(keys, id, 'cancel')[1] then
      end_cancelled(keys, key, task, id, fields, history, now, consumer)
    elseif fields then
      put_again(keys, key, task, id, fields, 0, now, raw == '1', place, false, true)
      restored = restored + 1
    end
    call('XACK', stream, group, entry) -- last: nothing is lost if Redis refuses a write before
    call('XDEL', stream, entry)
  end
end
return with_turns(keys, {restored})
