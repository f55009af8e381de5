-- Start the lease of messages in flight again and store their progress; only for their holder.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, then per item: place, entry, consumer, id, progress ('' for none)
-- Returns per item: 0 lost, 1 held, 2 to be cancelled, 3 cancelled again, 4 to be killed. The holder is checked first:
-- a bare XCLAIM would steal the message. XCLAIM comes before what needs memory.
local keys, group, results = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], {}
for item = 0, (#ARGV - 1) / 5 - 1 do
  local place, entry, consumer, id, progress = unpack(ARGV, 2 + item * 5, 6 + item * 5)
  local key, stream, result = KEYS[FIRST_TASK + item], keys[PLACES[place]], 0
  local owner, silent = holder(stream, group, entry)
  if owner == consumer then
    local task = task_at(key)
    local is_other = not task.place and is_of_other(read(stream, entry), id, entry)
    if not is_other and not is_copy(keys, group, task, place, entry) then
      call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
      if not task.place then -- written by hand: the task key made here must name its entry
        task = {place = place, entry = entry}
        set_place(key, place, false, entry)
      end
      local channels, cancelled, started
      if task.more then channels, cancelled, started = unpack(notes_of(keys, id, 'waiters', 'cancel', 'started')) end
      if not started_with(started, entry) then -- this is its first extension: it has been idle since it was claimed
        note(keys, key, task, id, 'started', entry .. ' ' .. int(now_ms() - silent))
      end
      if progress ~= '' then
        note(keys, key, task, id, 'progress', progress)
        announce(keys[DELAYED], channels, id)
      end
      result = cancelled and 1 + math.min(3, math.max(1, tonumber(cancelled) or 1)) or 1
    end
  end
  results[#results + 1] = result
end
return results
