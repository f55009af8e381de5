-- Read records, and optionally ask to be told when those that are missing arrive.
-- KEYS the five keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, channel to be told on ('' for none), ids
-- Returns per id: the task hash, flat, if it has ended; an empty list if it is under way; 0 if it is not known.
local keys, group, channel, now, answers = slice(KEYS, 1, 5), ARGV[1], ARGV[2], now_ms(), {}
local meta = KEYS[6]

for item = 3, #ARGV do
  local task = KEYS[4 + item]
  local all, is_foreign = all_of(task)
  if is_foreign then fields_of(task, 'at') end -- which removes it
  if #all == 0 then
    note_foreign(keys, group, task, ARGV[item])
    all = all_of(task)
  end
  if channel ~= '' and not field(all, 'state') and is_gone(keys, group, field(all, 'at'), field(all, 'e')) then
    finish_gone(keys, meta, group, task, ARGV[item], now)
    all = all_of(task)
  end
  if #all == 0 then
    answers[#answers + 1] = 0
  elseif field(all, 'state') then
    local finished, lives = ms(field(all, 'ended')), ms(field(all, 'ttl'))
    local readable = finished and lives and finished + lives > now
    answers[#answers + 1] = readable and whole(all, KEYS[4 + #ARGV - 2 + item]) or 0
  else
    if channel ~= '' then watch(keys, group, task, field(all, 'w'), channel) end
    answers[#answers + 1] = {}
  end
end
return answers
