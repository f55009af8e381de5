-- Take back what a claim has read beyond its limit, as if it had not been read: the entries keep their places. It may
-- run twice: entries that the consumer does not hold, or behind which another one has read on, are left as they are.
-- KEYS the keys of the group, meta
-- ARGV group, consumer, then for each stream of which too much was read: place, the id before the first of the entries,
--   number of entries, entries
-- Returns the entries that were left.
local group, consumer, arg, left, woken = ARGV[1], ARGV[2], 3, {}, nil
local paused = paused_at(KEYS[FIRST_TASK], group)

local function are_last(place, stream, entries)
  local first, last = entries[1], entries[#entries]
  if last_handed_out(stream, group, paused, place) ~= last then return false end
  local held = call('XPENDING', stream, group, first, last, #entries + 1)
  for i, row in ipairs(held) do
    if row[1] ~= entries[i] or row[2] ~= consumer then return false end
  end
  return #held == #entries
end

while arg <= #ARGV do
  local place, before, count = ARGV[arg], ARGV[arg + 1], tonumber(ARGV[arg + 2])
  local stream, entries = KEYS[PLACES[place]], slice(ARGV, arg + 3, count)
  if are_last(place, stream, entries) then
    for from = 1, count, MAX_FIELDS do
      call('XACK', stream, group, unpack(entries, from, math.min(count, from + MAX_FIELDS - 1)))
    end
    if paused and position(stream, group) == AT_END then
      paused[place] = before
      save_paused(KEYS[FIRST_TASK], group, paused)
    else
      call('XGROUP', 'SETID', stream, group, before)
      woken = woken or try_call('XADD', KEYS[NEW], '*', '', '') -- SETID wakes no consumer that waits for entries
    end
  else
    for _, entry in ipairs(entries) do left[#left + 1] = place .. entry end
  end
  arg = arg + 3 + count
end
if type(woken) == 'string' then call('XDEL', KEYS[NEW], woken) end
return left
