-- Read records. With a channel: have it told of the progress and the end of tasks that have not ended.
-- KEYS the five keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, channel ('' for none), ids
-- Returns per id: the task hash, flat, if it has ended; an empty list if it has not; 0 if it is not known or its record
-- is gone.
local keys, group, channel, now, results = slice(KEYS, 1, 5), ARGV[1], ARGV[2], now_ms(), {}
local meta = KEYS[6]

for item = 3, #ARGV do
  local task = KEYS[4 + item]
  local all, is_foreign = all_of(task)
  if is_foreign then fields_of(task, 'at') end -- which deletes it
  if #all == 0 then
    note_foreign(keys, group, task, ARGV[item])
    all = all_of(task)
  end
  if channel ~= '' and not field(all, 'state') and is_gone(keys, group, field(all, 'at'), field(all, 'e')) then
    end_gone(keys, meta, group, task, ARGV[item], now)
    all = all_of(task)
  end
  if #all == 0 then
    results[#results + 1] = 0
  elseif field(all, 'state') then
    local readable = is_readable(field(all, 'ended'), field(all, 'ttl'), now)
    results[#results + 1] = readable and whole(all, KEYS[4 + #ARGV - 2 + item]) or 0
  else
    if channel ~= '' then watch(keys, group, task, field(all, 'w'), channel) end
    results[#results + 1] = {}
  end
end
return results
