-- Start the lease of messages in flight again and store their progress; only for their holder.
-- KEYS the five keys of the group, then the task key of each item
-- ARGV group, then per item: entry, consumer, id, progress ('' for none)
-- Returns per item: 0 lost, 1 held, 2 to be cancelled, 3 cancelled again, 4 to be killed. The holder is checked first:
-- a bare XCLAIM would steal the message. XCLAIM comes before HSET, which needs memory.
local keys, group, results = slice(KEYS, 1, 5), ARGV[1], {}
for item = 0, (#ARGV - 1) / 4 - 1 do
  local entry, consumer, id, progress = unpack(ARGV, 2 + item * 4, 5 + item * 4)
  local task, result = KEYS[6 + item], 0
  local owner, silent = holder(keys, group, entry)
  if owner == consumer then
    local at, own, channels, cancelled, started = unpack(fields_of(task, 'at', 'e', 'w', 'cancel', 'started'))
    if not is_copy(keys, group, at, own, entry) then
      call('XCLAIM', keys[STREAM], group, consumer, 0, entry, 'JUSTID')
      if not at then -- written by hand: the task key made here must name its entry
        try_call('HSET', task, 'at', 'live', 'e', entry)
      end
      if not started_with(started, entry) then -- this is its first extension: it has been idle since it was claimed
        try_call('HSET', task, 'started', entry .. ' ' .. int(now_ms() - silent))
      end
      if progress ~= '' then
        call('HSET', task, 'progress', progress)
        announce(keys[DELAYED], channels, id)
      end
      result = cancelled and 1 + math.min(3, math.max(1, tonumber(cancelled) or 1)) or 1
    end
  end
  results[#results + 1] = result
end
return results
