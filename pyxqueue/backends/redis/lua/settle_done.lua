-- End tasks that have succeeded, the usual way: `settle` for a batch of one holder in which nothing else happens.
-- KEYS the group's stream, its history, then the task key of each item
-- ARGV group, history limit, the holder of all items, the first and the last of their entries, the id behind the last
--   ('' if there is none), then per item: entry, id, record ttl in ms, number of record values, record values
-- Returns 1 per item. It stops before the first that it cannot accept, so that the order is kept: `settle` decides
-- about that one (it may have no entry or no id of its own, be a copy, or have another holder) and about the rest.
local stream, history = KEYS[1], KEYS[2]
local group, limit, holder, first, last, behind = unpack(ARGV, 1, 6)
local items, time = #KEYS - 2, int(now_ms())

local held, messages = {}, {}
for _, row in ipairs(call('XPENDING', stream, group, first, last, items, holder)) do held[row[1]] = true end
local rows = call('XRANGE', stream, first, last, 'COUNT', items)
for _, row in ipairs(rows) do messages[row[1]] = row[2] end

allow_writes(stream, group)
local results, leaving, arg = {}, {}, 7
for item = 1, items do
  local task, entry, id, ttl = KEYS[2 + item], ARGV[arg], ARGV[arg + 1], ARGV[arg + 2]
  local from, to = arg + 4, arg + 3 + ARGV[arg + 3]
  local fields, known = held[entry] and messages[entry], {}
  if fields and field(fields, 'id') == id then known = fields_of(task, 'at', 'e', 'w', 'cancel') end
  if known[1] ~= 'live' or known[2] ~= entry then break end
  local count, channels = #fields, known[3]
  fields[count + 1], fields[count + 2], fields[count + 3], fields[count + 4] = '_state', '5', '_ended', time
  local ended = remember(history, fields, limit)
  if channels or known[4] then call('HDEL', task, 'w', 'cancel') end
  call('HSET', task, 'at', 'history', 'e', ended, 'ended', time, 'ttl', ttl, unpack(ARGV, from, to))
  call('PEXPIRE', task, ttl)
  announce(history, channels, id)
  leaving[item] = entry
  results[item] = 1
  arg = to + 1
end
remove_settled(stream, group, leaving, #leaving == #rows, first, behind)
return results
